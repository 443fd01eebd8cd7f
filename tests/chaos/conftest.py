"""Report faults: `make chaos` ends with a table, one row per fault.

def test_a_fault(chaos, dice):
    chaos.row("API server killed for 20 s", lost=pulls.lost(), condition=1.2, recovered=3.4)

Random choices come from `dice`. Its seed is printed first; set CHAOS_SEED to repeat a run.
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
# Minutes of random operations; use 15 before a release.
USUAL_MINUTES: Final = "2"


def pytest_configure() -> None:
    """Set the seed before the workers start, which inherit it."""
    os.environ.setdefault(SEED, str(random.SystemRandom().randrange(10**6)))
    os.environ.setdefault(MINUTES, USUAL_MINUTES)


def pytest_report_header() -> str:
    """Print the seed and the minutes."""
    return f"chaos: {SEED}={os.environ[SEED]} {MINUTES}={os.environ[MINUTES]}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table of all faults of all workers."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, [])]
    found = [Row(*value) for each in reports for name, value in each.user_properties if name == PROPERTY]
    failed = [report.nodeid for report in terminalreporter.stats.get("failed", [])]
    terminalreporter.write_sep("=", f"chaos, {SEED}={os.environ[SEED]}")
    terminalreporter.write_line(table(found, failed))


@pytest.fixture
def chaos(record_property: Callable[[str, object], None]) -> Chaos:
    """Return the collector of rows."""
    return Chaos(lambda row: record_property(PROPERTY, list(row)))


@pytest.fixture
def dice(request: pytest.FixtureRequest) -> random.Random:
    """Return random numbers of this test alone, the same for the same seed."""
    return random.Random(f"{os.environ[SEED]} {request.node.name}")  # noqa: S311 (no secret)


@pytest.fixture
def minutes() -> float:
    """Return the minutes of random operations."""
    return float(os.environ[MINUTES])
