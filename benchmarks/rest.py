"""Measure the controller at rest: it sends no requests if all mirrors are as desired."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.audit import by_verb
from benchmarks.stage import CONTROLLER_USER

if TYPE_CHECKING:
    from benchmarks.stage import Stage


@dataclass(frozen=True)
class Rest:
    """Requests and CPU seconds of the controller within `seconds`, without watches and leases."""

    seconds: float
    requests: dict[str, int]
    cpu_seconds: float

    @property
    def request_count(self) -> int:
        """Return the number of requests."""
        return sum(self.requests.values())


def measure(stage: Stage, seconds: float) -> Rest:
    """Leave the controller of a stage alone for `seconds`."""
    audit, cpu = stage.audit(), stage.controller.cpu_seconds()
    time.sleep(seconds)
    audit.read()
    requests = [each for each in audit.of(CONTROLLER_USER) if each.verb != "watch"]
    return Rest(seconds, by_verb(requests), stage.controller.cpu_seconds() - cpu)
