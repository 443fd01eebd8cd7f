"""Rows of the report on faults, and the table that is made of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

PROPERTY: Final = "chaos"
_HEAD: Final = ("fault", "lost", "s to a true condition", "s to recovery", "note")


class Row(NamedTuple):
    """One fault: what was lost, and seconds until a condition told the truth, and until all was well again.

    What was lost is told as it was counted: `0 of 12 mirrors`. None of the seconds where there is nothing to tell: no
    condition is concerned, or nothing had to recover.
    """

    fault: str
    lost: str
    condition: float | None
    recovered: float | None
    note: str


@dataclass(frozen=True, slots=True)
class Chaos:
    """Takes rows."""

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
        """Tells of a fault that was survived, after its assertions: what fails is told by the test itself."""
        self._take(Row(fault, lost, condition, recovered, note))


def table(rows: Iterable[Row], failed: Iterable[str]) -> str:
    """The rows as Markdown, aligned, then the tests that failed."""
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
