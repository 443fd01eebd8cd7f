"""Where a long job stands: one line that is rewritten on a terminal, a new line now and then elsewhere."""

import time
from typing import TextIO

TERMINAL_INTERVAL = 0.5  # seconds: quick enough to look alive
LOG_INTERVAL = 15.0  # seconds: some twenty lines in the log of a first build


def duration(seconds: float) -> str:
    """Spell a duration: `42 s`, `3 min 05 s`."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


class Progress:
    """Tells on `stream` where a job stands and for how long it has been at it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._terminal = stream.isatty()
        self._begun = time.monotonic()
        self._next = self._begun

    def show(self, text: str) -> None:
        """Tell `text`, unless the last telling is too recent."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + (TERMINAL_INTERVAL if self._terminal else LOG_INTERVAL)
        self._write(text, end="" if self._terminal else "\n")

    def finish(self, text: str) -> None:
        """Tell `text` as the last word, whenever the last telling was."""
        self._write(text, end="\n")

    def _write(self, text: str, end: str) -> None:
        line = f"{text} ({duration(time.monotonic() - self._begun)})"
        # \r and "erase to the end of the line": what was longer must not show through
        self._stream.write(f"\r{line}\x1b[K{end}" if self._terminal else f"{line}{end}")
        self._stream.flush()
