"""A logger that keeps what it is told."""

from __future__ import annotations

from typing import Any


class Recorder:
    """The methods of a logger that the programs use; `events` holds one dictionary a line."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def info(self, event: str, **values: Any) -> None:
        """Keeps the line."""
        self.events.append({"level": "info", "event": event, **values})

    def warning(self, event: str, **values: Any) -> None:
        """Keeps the line."""
        self.events.append({"level": "warning", "event": event, **values})

    def exception(self, event: str, **values: Any) -> None:
        """Keeps the line; the trace is the real logger's work."""
        self.events.append({"level": "error", "event": event, **values})

    def named(self, event: str) -> list[dict[str, Any]]:
        """The lines of that event."""
        return [line for line in self.events if line["event"] == event]
