"""At rest: with all mirrors as they should be, the controller asks nothing."""

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
    """Requests of the controller in so many seconds, but watches begun again and the lease; CPU in seconds."""

    seconds: float
    requests: dict[str, int]
    cpu_seconds: float

    @property
    def request_count(self) -> int:
        """All of them."""
        return sum(self.requests.values())


def measure(stage: Stage, seconds: float) -> Rest:
    """Leaves the controller of a stage alone."""
    audit, cpu = stage.audit(), stage.controller.cpu_seconds()
    time.sleep(seconds)
    audit.look()
    asked = [each for each in audit.of(CONTROLLER_USER) if each.verb != "watch"]
    return Rest(seconds, by_verb(asked), stage.controller.cpu_seconds() - cpu)
