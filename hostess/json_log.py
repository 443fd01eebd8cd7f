"""Write logs as JSON lines in the form of the other programs. structlog would cost 12 MB."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import TextIO


class Log:
    """Writer of one line per event: a constant event with keys and values."""

    def __init__(self, stream: TextIO = sys.stdout, **bound: object) -> None:
        self._stream, self._bound = stream, bound

    def info(self, event: str, **values: object) -> None:
        """Log an expected event."""
        self._write("info", event, values)

    def warning(self, event: str, **values: object) -> None:
        """Log an event that the administrator may have to check."""
        self._write("warning", event, values)

    def _write(self, level: str, event: str, values: dict[str, object]) -> None:
        line = {"event": event, **self._bound, **values, "level": level, "timestamp": datetime.now(UTC).isoformat()}
        self._stream.write(json.dumps(line, default=str) + "\n")
        self._stream.flush()
