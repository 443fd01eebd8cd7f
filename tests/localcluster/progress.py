"""Print the progress of a long job: one line on a terminal, else a line from time to time."""

import time
from typing import TextIO

TERMINAL_INTERVAL = 0.5  # seconds
LOG_INTERVAL = 15.0  # seconds; about twenty lines for a first build


def duration(seconds: float) -> str:
    """Format a duration: `42 s`, `3 min 05 s`."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


class Progress:
    """Print the progress of a job and its duration to `stream`."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._terminal = stream.isatty()
        self._begun = time.monotonic()
        self._next = self._begun

    def show(self, text: str) -> None:
        """Print `text`, unless the last line is too recent."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + (TERMINAL_INTERVAL if self._terminal else LOG_INTERVAL)
        self._write(text, end="" if self._terminal else "\n")

    def finish(self, text: str) -> None:
        """Print the last line of the job."""
        self._write(text, end="\n")

    def _write(self, text: str, end: str) -> None:
        line = f"{text} ({duration(time.monotonic() - self._begun)})"
        # Erase the rest of a longer line.
        self._stream.write(f"\r{line}\x1b[K{end}" if self._terminal else f"{line}{end}")
        self._stream.flush()
