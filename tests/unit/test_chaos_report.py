"""The table that `make chaos` ends with."""

from __future__ import annotations

from tests.support.chaos import Chaos, Row, table


def test_row_has_blanks_for_missing_values() -> None:
    rows: list[Row] = []
    Chaos(rows.append).row("node restarted", lost="0 of 3 pulls", recovered=12.34)
    (_, _, line) = table(rows, []).splitlines()
    assert [cell.strip() for cell in line.strip("|").split("|")] == ["node restarted", "0 of 3 pulls", "", "12.3", ""]


def test_failed_tests_follow_table() -> None:
    assert table([], ["tests/chaos/x.py::test_y"]).splitlines()[-1] == "FAILED tests/chaos/x.py::test_y"
