"""Measure a restart: the controller reconciles each mirror and writes nothing if all are as desired."""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from benchmarks.audit import by_verb
from benchmarks.burst import QUIET
from benchmarks.stage import CONTROLLER_USER
from tests.localcluster.pages import page

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.stage import Stage

DEADLINE: Final = 120.0  # seconds; two are the aim
# Seconds, and so the precision of the figures. /metrics of 500 mirrors costs the controller some milliseconds.
POLL_INTERVAL: Final = 0.03
GRACE: Final = 30.0


@dataclass(frozen=True)
class Restart:
    """Seconds from the start of the process until /readyz succeeds and until each mirror was reconciled once.

    `requests` are counted by `verb resource` until the controller is quiet. Leases count in none of the figures.
    """

    stop_seconds: float
    ready_seconds: float
    reconciled_seconds: float
    cpu_seconds: float
    resident_mib: float
    requests: dict[str, int]
    writes: int

    @property
    def request_count(self) -> int:
        """Return the number of requests."""
        return sum(self.requests.values())


def measure(stage: Stage, mirrors: int) -> Restart:
    """Stop the controller of a stage with SIGTERM and start it again."""
    stop_seconds = _stop(stage)
    audit = stage.audit()
    port = stage.system.launch_controller()
    ready = _age(stage, lambda: page(port, "/readyz") is not None)
    # One more than the mirrors: the webhook's certificates are a key of the queue too.
    reconciled = _age(stage, lambda: stage.reconciles() > mirrors)
    cpu = stage.controller.cpu_seconds()
    requests = audit.until_quiet(CONTROLLER_USER, QUIET, DEADLINE)
    return Restart(
        stop_seconds=stop_seconds,
        ready_seconds=ready,
        reconciled_seconds=reconciled,
        cpu_seconds=cpu,
        resident_mib=stage.controller.resident_mib(),
        requests=by_verb(requests),
        writes=sum(each.is_write for each in requests),
    )


def _stop(stage: Stage) -> float:
    started = time.perf_counter()
    processes = stage.system.processes
    processes.kill("controller", signal.SIGTERM)
    processes.stop(["controller"], GRACE)
    return time.perf_counter() - started


def _age(stage: Stage, is_reached: Callable[[], bool]) -> float:
    """Wait until the controller reaches a state, and return its age in seconds."""
    while not is_reached():
        if stage.controller.age_seconds() > DEADLINE:
            raise TimeoutError(stage.system.processes.last_lines("controller"))
        time.sleep(POLL_INTERVAL)
    return stage.controller.age_seconds()
