"""Faults, and the report of what they cost: `make chaos` ends with a table, one row a fault.

def test_a_fault(chaos, dice):
    chaos.row("API server killed for 20 s", lost=pulls.lost(), condition=1.2, recovered=3.4)

Whatever is random comes from `dice`, whose seed is printed first and taken from CHAOS_SEED where that is set.
"""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING, Final

import pytest

from tests.support.chaos import PROPERTY, Chaos, Row, table

if TYPE_CHECKING:
    from collections.abc import Callable

SEED: Final = "CHAOS_SEED"
MINUTES: Final = "CHAOS_MINUTES"
# Minutes that random operations go on for. The usual run has two beside all other faults; a release deserves fifteen.
USUAL_MINUTES: Final = "2"


def pytest_configure() -> None:
    """Before the workers start, which inherit it: all of them have one seed."""
    os.environ.setdefault(SEED, str(random.SystemRandom().randrange(10**6)))
    os.environ.setdefault(MINUTES, USUAL_MINUTES)


def pytest_report_header() -> str:
    """What a run is repeated with."""
    return f"chaos: {SEED}={os.environ[SEED]} {MINUTES}={os.environ[MINUTES]}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The table of all faults, whichever worker met them."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, [])]
    found = [Row(*value) for each in reports for name, value in each.user_properties if name == PROPERTY]
    failed = [report.nodeid for report in terminalreporter.stats.get("failed", [])]
    terminalreporter.write_sep("=", f"chaos, {SEED}={os.environ[SEED]}")
    terminalreporter.write_line(table(found, failed))


@pytest.fixture
def chaos(record_property: Callable[[str, object], None]) -> Chaos:
    """Takes rows for the report."""
    return Chaos(lambda row: record_property(PROPERTY, list(row)))


@pytest.fixture
def dice(request: pytest.FixtureRequest) -> random.Random:
    """Random numbers of this test alone: the same for one seed, whatever other tests there are."""
    return random.Random(f"{os.environ[SEED]} {request.node.name}")  # noqa: S311 (no secret)


@pytest.fixture
def minutes() -> float:
    """How long random operations go on."""
    return float(os.environ[MINUTES])
