"""Writes for a person: no wider than the page, in colours only where somebody looks at them."""

import os
import re
import shutil
import textwrap
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import TextIO

WIDTH = 100  # columns that a page has at least; a wider terminal is used as it is
MARGIN = "  "
INDENT = "    "  # of what goes on in the next line
BOLD, GREEN, RED, CYAN = "1", "32", "31", "36"
# The head of kubectl's tables: capitals, columns apart by two spaces and more.
HEAD = re.compile(r"[A-Z][A-Z0-9()/-]*(?: {1,}[A-Z0-9()/-]+)*\s*")
COLUMN = re.compile(r"\S+(?: \S+)*")


class Paper:
    """A stream that a person reads."""

    def __init__(self, stream: TextIO, environment: Mapping[str, str] = os.environ) -> None:
        self._stream = stream
        self._coloured = stream.isatty() and not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"
        self._width = max(WIDTH, shutil.get_terminal_size((WIDTH, 0)).columns) if stream.isatty() else WIDTH

    def title(self, text: str) -> None:
        """A line of its own, after an empty one."""
        self._line("")
        self._line(text, BOLD)

    def note(self, text: str, colour: str = "") -> None:
        """A sentence, below the title."""
        for line in fold(text, self._width - len(MARGIN)):
            self._line(MARGIN + line, colour)

    def command(self, text: str, prompt: str = "$ ") -> None:
        """What was typed, as it was typed."""
        for mark, line in zip([prompt, *[""] * text.count("\n")], text.split("\n"), strict=True):
            self._line(f"{MARGIN}{mark}{line}", CYAN)

    def quote(self, text: str) -> None:
        """Lines for programs, as they are: folded, they could not be copied."""
        for line in text.split("\n"):
            self._line(MARGIN + line)

    def verdict(self, text: str, colour: str) -> None:
        """The last word."""
        self._line("")
        self._line(text, colour)

    def _line(self, text: str, colour: str = "") -> None:
        text = text.rstrip()
        painted = f"\x1b[{colour}m{text}\x1b[0m" if colour and self._coloured else text
        print(painted, file=self._stream, flush=True)


def fold(text: str, width: int) -> list[str]:
    """The lines of `text`, those that are too wide folded: a table between two columns, all else between words."""
    folded = []
    for _, block in groupby(text.split("\n"), key=bool):
        lines = list(block)
        rows = _table(lines, width) if HEAD.fullmatch(lines[0]) else [_prose(line, width) for line in lines]
        folded += [line for row in rows for line in row]
    return folded


def _table(lines: Sequence[str], width: int) -> list[list[str]]:
    """For each line of a table those that it becomes: all are cut at the last column that still fits."""
    if max(map(len, lines)) <= width:
        return [[line] for line in lines]
    cut = max((column.start() for column in COLUMN.finditer(lines[0]) if column.start() <= width), default=0)
    if cut == 0:
        return [_prose(line, width) for line in lines]
    rest = _table([line[cut:] for line in lines], width - len(INDENT))
    return [
        [line[:cut].rstrip(), *(INDENT + more for more in further if more)]
        for line, further in zip(lines, rest, strict=True)
    ]


def _prose(line: str, width: int) -> list[str]:
    if len(line) <= width:
        return [line]
    indent = line[: len(line) - len(line.lstrip())] + INDENT
    return textwrap.wrap(line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
