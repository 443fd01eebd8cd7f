"""Print what the demo shows: no wider than the page, in colours on a terminal only."""

import re
import textwrap
from collections.abc import Sequence
from itertools import groupby
from typing import TextIO

from rich.console import Console
from rich.text import Text

WIDTH = 100  # minimum columns of the page; a wider terminal is used in full
MARGIN = "  "
INDENT = "    "  # of continuation lines
BOLD, GREEN, RED, CYAN = "bold", "green", "red", "cyan"
# The header of kubectl's tables: capitals.
HEADER = re.compile(r"[A-Z][A-Z0-9()/-]*(?: {1,}[A-Z0-9()/-]+)*\s*")
COLUMN = re.compile(r"\S+(?: \S+)*")


class Output:
    """The stream that the demo prints to."""

    def __init__(self, stream: TextIO) -> None:
        self._console = Console(file=stream)
        self._width = max(WIDTH, self._console.width) if self._console.is_terminal else WIDTH

    def title(self, text: str) -> None:
        """Print a title after an empty line."""
        self._line("")
        self._line(text, BOLD)

    def note(self, text: str, colour: str = "") -> None:
        """Print text below the title, folded."""
        for line in fold(text, self._width - len(MARGIN)):
            self._line(MARGIN + line, colour)

    def command(self, text: str, prompt: str = "$ ") -> None:
        """Print a command. It is not folded, so that it can be copied."""
        first, *others = text.split("\n")
        for line in (prompt + first, *others):
            self._line(MARGIN + line, CYAN)

    def quote(self, text: str) -> None:
        """Print lines of a log. They are not folded."""
        for line in text.split("\n"):
            self._line(MARGIN + line)

    def result(self, text: str, colour: str) -> None:
        """Print the last line, after an empty one."""
        self._line("")
        self._line(text, colour)

    def _line(self, text: str, colour: str = "") -> None:
        self._console.print(Text(text.rstrip(), colour), soft_wrap=True)


def fold(text: str, width: int) -> list[str]:
    """Return the lines of `text`. Fold wide tables between columns and other lines between words."""
    folded = []
    for _, block in groupby(text.split("\n"), key=bool):
        lines = list(block)
        rows = _table(lines, width) if HEADER.fullmatch(lines[0]) else [_words(line, width) for line in lines]
        folded += [line for row in rows for line in row]
    return folded


def _table(lines: Sequence[str], width: int) -> list[list[str]]:
    """Return the folded lines of each row. All rows are cut at the last column that fits."""
    if max(map(len, lines)) <= width:
        return [[line] for line in lines]
    cut = max((column.start() for column in COLUMN.finditer(lines[0]) if column.start() <= width), default=0)
    if cut == 0:
        return [_words(line, width) for line in lines]
    rest = _table([line[cut:] for line in lines], width - len(INDENT))
    return [
        [line[:cut].rstrip(), *(INDENT + more for more in further if more)]
        for line, further in zip(lines, rest, strict=True)
    ]


def _words(line: str, width: int) -> list[str]:
    if len(line) <= width:
        return [line]
    indent = line[: len(line) - len(line.lstrip())] + INDENT
    return textwrap.wrap(line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
