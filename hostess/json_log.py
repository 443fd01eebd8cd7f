"""Logs as JSON lines, in the form of the other programs: a constant event with key/values. structlog costs 12 MB."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import TextIO


class Log:
    """Writes one line an event."""

    def __init__(self, stream: TextIO = sys.stdout, **bound: object) -> None:
        self._stream, self._bound = stream, bound

    def info(self, event: str, **values: object) -> None:
        """Something happened as it should."""
        self._write("info", event, values)

    def warning(self, event: str, **values: object) -> None:
        """Something that a person may have to look at."""
        self._write("warning", event, values)

    def _write(self, level: str, event: str, values: dict[str, object]) -> None:
        line = {"event": event, **self._bound, **values, "level": level, "timestamp": datetime.now(UTC).isoformat()}
        self._stream.write(json.dumps(line, default=str) + "\n")
        self._stream.flush()
