"""What the demo prints fits a page: tables are folded between columns, all else between words."""

from __future__ import annotations

import io

import pytest

from tests.localcluster.paper import BOLD, Paper, fold

TABLE = """\
NAME         DESIRED   NODE SELECTOR
daemonset/a  0         kubernetes.io/os=linux

NAME   AGE
svc/a  2s"""


class Terminal(io.StringIO):
    """A stream that somebody looks at."""

    def isatty(self) -> bool:
        """It is."""
        return True


def test_what_fits_stays_as_it_is() -> None:
    """Nothing is changed in lines that are not too long, empty ones included."""
    assert fold(TABLE, 50) == TABLE.splitlines()


def test_a_wide_table_is_cut_between_two_columns() -> None:
    """All lines of one table are cut at the same column; the table beside it is left alone."""
    assert fold(TABLE, 30) == [
        "NAME         DESIRED",
        "    NODE SELECTOR",
        "daemonset/a  0",
        "    kubernetes.io/os=linux",
        "",
        "NAME   AGE",
        "svc/a  2s",
    ]


def test_a_sentence_is_folded_between_words() -> None:
    """What goes on in the next line is indented further than what began it."""
    assert fold("  * one two three four", 14) == ["  * one two", "      three", "      four"]


def test_a_word_is_never_broken() -> None:
    """A URL stays whole, though it be wider than the page."""
    assert fold("see https://example.com/long", 10) == ["see", "    https://example.com/long"]


@pytest.mark.parametrize(
    ("stream", "environment", "coloured"),
    [
        (Terminal(), {}, True),
        (Terminal(), {"NO_COLOR": ""}, True),
        (Terminal(), {"NO_COLOR": "1"}, False),
        (Terminal(), {"TERM": "dumb"}, False),
        (io.StringIO(), {}, False),
    ],
)
def test_colours_are_for_terminals_only(stream: io.StringIO, environment: dict[str, str], *, coloured: bool) -> None:
    """NO_COLOR turns them off, unless it is empty, as https://no-color.org has it."""
    Paper(stream, environment).verdict("done", BOLD)
    assert stream.getvalue() == ("\n\x1b[1mdone\x1b[0m\n" if coloured else "\ndone\n")
