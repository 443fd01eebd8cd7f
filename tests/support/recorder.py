"""Record log events."""

from __future__ import annotations

from typing import Any


class Recorder:
    """Implements the methods of a logger; `events` has one dictionary per line."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def info(self, event: str, **values: Any) -> None:
        """Record the line."""
        self.events.append({"level": "info", "event": event, **values})

    def warning(self, event: str, **values: Any) -> None:
        """Record the line."""
        self.events.append({"level": "warning", "event": event, **values})

    def exception(self, event: str, **values: Any) -> None:
        """Record the line without its trace."""
        self.events.append({"level": "error", "event": event, **values})

    def named(self, event: str) -> list[dict[str, Any]]:
        """Return the lines of that event."""
        return [line for line in self.events if line["event"] == event]
