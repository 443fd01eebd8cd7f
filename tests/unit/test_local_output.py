"""The demo's output fits the page."""

from __future__ import annotations

import io

import pytest

from tests.localcluster.output import GREEN, Output, fold

TABLE = """\
NAME         DESIRED   NODE SELECTOR
daemonset/a  0         kubernetes.io/os=linux

NAME   AGE
svc/a  2s"""


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        """Return True."""
        return True


def test_narrow_lines_stay_unchanged() -> None:
    """Empty lines too."""
    assert fold(TABLE, 50) == TABLE.splitlines()


def test_wide_table_is_cut_between_columns() -> None:
    """All lines of one table are cut at the same column; the next table is not."""
    assert fold(TABLE, 30) == [
        "NAME         DESIRED",
        "    NODE SELECTOR",
        "daemonset/a  0",
        "    kubernetes.io/os=linux",
        "",
        "NAME   AGE",
        "svc/a  2s",
    ]


def test_sentence_is_folded_between_words() -> None:
    """Continuation lines are indented further."""
    assert fold("  * one two three four", 14) == ["  * one two", "      three", "      four"]
    # A URL stays whole even if it is wider than the page.
    assert fold("see https://example.com/long", 10) == ["see", "    https://example.com/long"]


@pytest.mark.parametrize(("stream", "coloured"), [(Terminal(), True), (io.StringIO(), False)])
def test_only_terminals_get_colours(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch, *, coloured: bool) -> None:
    """Text in brackets is no markup, and a long line stays one line."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    text = "[bold]done[/bold] " + "x" * 200
    Output(stream).result(text, GREEN)
    assert stream.getvalue() == (f"\n\x1b[32m{text}\x1b[0m\n" if coloured else f"\n{text}\n")
