"""Define the rows and the table of the report on faults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

PROPERTY: Final = "chaos"
_HEAD: Final = ("fault", "lost", "s to a true condition", "s to recovery", "note")


class Row(NamedTuple):
    """Report one fault: the loss, and the seconds to a true condition and to recovery.

    The loss is a count such as `0 of 12 mirrors`. The seconds are None without a condition or a recovery.
    """

    fault: str
    lost: str
    condition: float | None
    recovered: float | None
    note: str


@dataclass(frozen=True, slots=True)
class Chaos:
    """Collect rows."""

    _take: Callable[[Row], None]

    def row(
        self,
        fault: str,
        *,
        lost: str,
        condition: float | None = None,
        recovered: float | None = None,
        note: str = "",
    ) -> None:
        """Add a row, after the assertions of the test."""
        self._take(Row(fault, lost, condition, recovered, note))


def table(rows: Iterable[Row], failed: Iterable[str]) -> str:
    """Return the rows as an aligned Markdown table, followed by the failed tests."""
    lines = [_HEAD, *sorted(map(_cells, rows))]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEAD))]
    texts = [_joined(line, widths) for line in lines]
    texts.insert(1, "|".join(["", *("-" * (width + 2) for width in widths), ""]))
    return "\n".join([*texts, *(f"FAILED {each}" for each in failed)])


def _cells(row: Row) -> tuple[str, ...]:
    seconds = ("" if value is None else f"{value:.1f}" for value in (row.condition, row.recovered))
    return (row.fault, row.lost, *seconds, row.note)


def _joined(cells: tuple[str, ...], widths: list[int]) -> str:
    return f"| {' | '.join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))} |"
