"""The restart: a controller that finds all mirrors as they should be has to look at each and write nothing."""

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
# Seconds between two looks at a page. /metrics costs the controller some milliseconds with 500 mirrors; the figure
# is true to this and no better.
POLL: Final = 0.03
GRACE: Final = 30.0


@dataclass(frozen=True)
class Restart:
    """Seconds since the start of the process: until /readyz says yes, until each mirror was reconciled once.

    `requests` by `verb resource`, until nothing more was asked; `writes` are those among them that are to change
    something. The lease is left out of both.
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
        """All of them."""
        return sum(self.requests.values())


def measure(stage: Stage, mirrors: int) -> Restart:
    """Ends the controller of a stage by SIGTERM and starts it again."""
    stopped = _stop(stage)
    audit = stage.audit()
    port = stage.system.launch_controller()
    ready = _age(stage, lambda: page(port, "/readyz") is not None)
    # One more than there are mirrors: the webhook's certificates are one more key of the queue.
    reconciled = _age(stage, lambda: stage.reconciles() > mirrors)
    cpu = stage.controller.cpu_seconds()
    asked = audit.until_quiet(CONTROLLER_USER, QUIET, DEADLINE)
    return Restart(
        stop_seconds=stopped,
        ready_seconds=ready,
        reconciled_seconds=reconciled,
        cpu_seconds=cpu,
        resident_mib=stage.controller.resident_mib(),
        requests=by_verb(asked),
        writes=sum(each.is_write for each in asked),
    )


def _stop(stage: Stage) -> float:
    started = time.perf_counter()
    processes = stage.system.processes
    processes.kill("controller", signal.SIGTERM)
    processes.stop(["controller"], GRACE)
    return time.perf_counter() - started


def _age(stage: Stage, reached: Callable[[], bool]) -> float:
    """How old the controller is when it has reached something."""
    while not reached():
        if stage.controller.age_seconds() > DEADLINE:
            raise TimeoutError(stage.system.processes.last_lines("controller"))
        time.sleep(POLL)
    return stage.controller.age_seconds()
