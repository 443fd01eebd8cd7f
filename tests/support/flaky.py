"""Run a failed test of a cluster or a node once more, alone, and list it under FLAKY if it passes then.

A flaky test is a defect to fix, not a pass: the list has the seconds of both attempts and the first failure's message.
Unit tests run once.
"""

from __future__ import annotations

import fcntl
from collections import defaultdict
from typing import TYPE_CHECKING, Final

import pytest
import pytest_timeout  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable
    from pathlib import Path

RERUN_SUITES: Final = frozenset({"cluster", "smoke", "node", "e2e", "monitoring", "chaos"})  # folders of tests/
FAILED_ATTEMPTS: Final = pytest.StashKey[int]()
TURN, RUN = 0, 1  # bytes of the lock file


class TestLock:
    """A lock between the workers of one run: tests share it, a rerun has it alone.

    A waiting rerun holds TURN, which each test needs first. Without it the other worker could begin test after test.
    """

    __test__ = False

    def __init__(self, file: Path) -> None:
        self._file = file.open("a+b")

    def share(self) -> None:
        """Wait until no rerun waits or runs."""
        fcntl.lockf(self._file, fcntl.LOCK_SH, 1, TURN)
        fcntl.lockf(self._file, fcntl.LOCK_SH, 1, RUN)
        fcntl.lockf(self._file, fcntl.LOCK_UN, 1, TURN)

    def take_alone(self) -> None:
        """Wait until no other worker runs a test. Two workers that keep their share meanwhile would deadlock."""
        self.release()
        fcntl.lockf(self._file, fcntl.LOCK_EX, 1, TURN)
        fcntl.lockf(self._file, fcntl.LOCK_EX, 1, RUN)

    def release(self) -> None:
        """Let others run."""
        fcntl.lockf(self._file, fcntl.LOCK_UN, 2)


class RerunOnce:
    """The pytest plugin; one for each process."""

    def __init__(self, lock: TestLock | None) -> None:
        self._lock = lock
        self._reports: defaultdict[str, list[pytest.TestReport]] = defaultdict(list)

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Mark the tests that may run twice."""
        for item in items:
            if _suite(item.path, config.rootpath) in RERUN_SUITES:
                item.add_marker(pytest.mark.flaky(reruns=1))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self) -> Generator[None, object, object]:
        """Hold the lock during all attempts of a test."""
        if self._lock is None:
            return (yield)
        self._lock.share()
        try:
            return (yield)
        finally:
            self._lock.release()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Prepare a second attempt: alone, with all of its time, and without the properties of the first."""
        if getattr(item, "execution_count", 1) > 1:
            if self._lock:
                self._lock.take_alone()
            item.user_properties.clear()
            _restart_timer(item)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Count failures: `session.testsfailed` lacks those that are run again."""
        report = yield
        item.session.stash[FAILED_ATTEMPTS] = failed_attempts(item.session) + report.failed
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the reports of all attempts."""
        self._reports[report.nodeid].append(report)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print FLAKY and the tests that passed at the second attempt."""
        for title, lines in (("FLAKY", flaky_lines(self._reports)), ("FAILED TWICE", first_failures(self._reports))):
            if found := list(lines):
                terminalreporter.write_sep("=", title, red=True)
                for line in found:
                    terminalreporter.write_line(line)


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Register the plugin; only workers need a lock, in the folder that all workers of the run share."""
    worker = hasattr(config, "workerinput")
    lock = TestLock(config._tmp_path_factory.getbasetemp().parent / "tests.lock") if worker else None  # type: ignore[attr-defined]
    config.pluginmanager.register(RerunOnce(lock), "rerun-once")


def failed_attempts(session: pytest.Session) -> int:
    """Return the number of failed phases of tests in this process, those of first attempts included."""
    return session.stash.get(FAILED_ATTEMPTS, 0)


def flaky_lines(reports: dict[str, list[pytest.TestReport]]) -> Iterable[str]:
    """Yield two lines for each test whose last attempt passed after an attempt that failed."""
    for nodeid, every in sorted(reports.items()):
        failures = [each for each in every if each.outcome == "rerun"]  # type: ignore[comparison-overlap]
        last = [each for each in every if _attempt(each) == max(map(_attempt, every))]
        called = any(each.when == "call" for each in last)
        if failures and called and all(each.passed for each in last):
            first = sum(each.duration for each in every if _attempt(each) == 0)
            again = sum(each.duration for each in last)
            yield f"FLAKY {nodeid}: failed after {first:.1f} s, passed in {again:.1f} s when run again"
            yield f"  {_message(failures[0])}"


def first_failures(reports: dict[str, list[pytest.TestReport]]) -> Iterable[str]:
    """Yield the first failure of each test that failed again: pytest prints the second one only."""
    for nodeid, every in sorted(reports.items()):
        failures = [each for each in every if each.outcome == "rerun"]  # type: ignore[comparison-overlap]
        if failures and any(each.failed for each in every if _attempt(each) > 0):
            yield f"{nodeid}: the first failure was"
            yield f"  {_message(failures[0])}"


def _restart_timer(item: pytest.Item) -> None:
    """Start the timer of pytest-timeout again: it has one for all attempts, which may have ended the first."""
    settings = pytest_timeout._get_item_settings(item)
    if settings.timeout:
        item.ihook.pytest_timeout_cancel_timer(item=item)
        item.ihook.pytest_timeout_set_timer(item=item, settings=settings)


def _attempt(report: pytest.TestReport) -> int:
    return int(getattr(report, "rerun", 0))


def _message(report: pytest.TestReport) -> str:
    """Return the failure's message on one line, at most 500 characters."""
    crash = getattr(report.longrepr, "reprcrash", None)
    return f"{report.when}: {' '.join((crash.message if crash else report.longreprtext).split())[:500]}"


def _suite(path: Path, root: Path) -> str:
    """Return the folder of tests/ that a test is in."""
    parts = path.relative_to(root).parts if path.is_relative_to(root) else ()
    return parts[1] if len(parts) > 2 and parts[0] == "tests" else ""
