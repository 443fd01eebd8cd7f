"""Measure how fast the controller makes a batch of mirrors complete."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tests.support.audit import requests
from tests.support.faults import complete, one
from tests.support.kube import until

if TYPE_CHECKING:
    from tests.cluster.conftest import Running

BATCH: Final = 40


@dataclass(frozen=True)
class Pace:
    """Hold the seconds until half of a batch is complete, and all of it."""

    half: float
    last: float


def any_within(alone: Pace, beside: list[Pace]) -> bool:
    """Return True if one batch was fast enough beside the failing mirrors.

    The allowance is 50 % for their requests on the same two cores, and a second.
    """
    return any(each.half < 1.5 * alone.half + 1.0 and each.last < 1.5 * alone.last + 1.0 for each in beside)


def create_batch(running: Running, batch: str, user: str) -> Pace:
    """Create mirrors, wait until all are complete, and return the times of the audit log."""
    names = [f"{batch}{number}" for number in range(BATCH)]
    began = time.time()
    for name in names:
        running.kube.mirror(one(name))
    for name in names:
        until(lambda name=name: complete(running.kube, name), why=f"{name} is complete", seconds=120)  # type: ignore[misc]
    asked = [each for each in requests(running.cluster) if each.at >= began and each.accepted]
    made = {each.name: each.at for each in asked if each.resource == "registrymirrors" and each.verb == "create"}
    done: dict[str, float] = {}
    for each in requests(running.cluster, credential=user):
        name = each.name.removeprefix("registry-mirror-")
        if name in made and each.accepted and each.resource in ("daemonsets", "registrymirrors/status"):
            done.setdefault(f"{each.resource} {name}", each.at)
    first = min(made.values())
    took = [max(done[f"daemonsets {name}"], done[f"registrymirrors/status {name}"]) - first for name in names]
    return Pace(statistics.median(took), max(took))
