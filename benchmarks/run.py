"""One run: everything that is measured, in an order that lets each figure be compared with its limit."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks import admission, burst, drift, limit, rest, restart, reviews
from benchmarks.stage import a_stage
from benchmarks.subjects import objects_of, peers_share

if TYPE_CHECKING:
    from benchmarks.admission import Admission
    from benchmarks.burst import Burst
    from benchmarks.drift import Mended
    from benchmarks.limit import Limit
    from benchmarks.rest import Rest
    from benchmarks.restart import Restart
    from benchmarks.reviews import Reviews


@dataclass(frozen=True)
class Plan:
    """What is asked for: mirrors, rounds of limit and burst, seconds at rest, mirrors with all of Kubernetes beside."""

    mirrors: int
    rounds: int
    rest_seconds: float
    full_mirrors: int


@dataclass(frozen=True)
class Round:
    """Limit and burst, one right after the other: a machine is not equally fast for long."""

    limit: Limit
    peers_limit: Limit
    burst: Burst

    @property
    def ratio(self) -> float:
        """How many times longer than its limit the burst took."""
        return self.burst.seconds / self.limit.seconds


@dataclass(frozen=True)
class Run:
    """All figures of one run."""

    plan: Plan
    rounds: list[Round]
    restart: Restart
    rest: Rest
    drift: list[Mended]
    reviews: Reviews
    with_webhook: Burst
    full: Burst | None
    admission: Admission

    @property
    def typical(self) -> Round:
        """The round whose ratio is the middle one."""
        return sorted(self.rounds, key=lambda each: each.ratio)[len(self.rounds) // 2]


def run(plan: Plan) -> Run:
    """Measures; tells on stderr what it is at. The last round's stage serves for what comes after a burst."""
    rounds = [_round(plan, number) for number in range(1, plan.rounds)]
    limits = _limits(plan, plan.rounds)
    with a_stage() as stage:
        stage.start_controller()
        _tell(f"burst of {plan.mirrors} mirrors, round {plan.rounds} of {plan.rounds}")
        rounds.append(Round(*limits, burst.measure(stage, plan.mirrors)))
        _tell("restart")
        restarted = restart.measure(stage, plan.mirrors)
        _tell(f"at rest for {plan.rest_seconds:.0f} s")
        rested = rest.measure(stage, plan.rest_seconds)
        _tell("drift")
        drifted = drift.measure(stage, plan.mirrors)
        _tell("admission through the API server")
        reviewed = reviews.measure(stage)
    with_webhook, full = _burst_with_webhook(plan), _burst_beside_all(plan)
    _tell("admission by itself")
    return Run(plan, rounds, restarted, rested, drifted, reviewed, with_webhook, full, admission.measure())


def _round(plan: Plan, number: int) -> Round:
    limits = _limits(plan, number)
    with a_stage() as stage:
        stage.start_controller()
        _tell(f"burst of {plan.mirrors} mirrors, round {number} of {plan.rounds}")
        return Round(*limits, burst.measure(stage, plan.mirrors))


def _limits(plan: Plan, number: int) -> tuple[Limit, Limit]:
    """Both limits, each on an API server of its own, as the burst has one."""
    ours = objects_of(plan.mirrors)
    found = []
    for what, objects in (("six", ours), ("four", peers_share(ours))):
        _tell(f"limit, {what} objects a mirror, round {number} of {plan.rounds}")
        with a_stage() as stage:
            found.append(limit.measure(stage, objects))
    return found[0], found[1]


def _burst_with_webhook(plan: Plan) -> Burst:
    _tell("burst with the webhook")
    with a_stage() as stage:
        stage.start_controller()
        reviews.register(stage)
        return burst.measure(stage, plan.mirrors)


def _burst_beside_all(plan: Plan) -> Burst | None:
    """Beside Kubernetes' own controllers, which make pods and claims of what we make, twenty a second."""
    if not plan.full_mirrors:
        return None
    _tell(f"burst of {plan.full_mirrors} mirrors beside all controllers of Kubernetes")
    with a_stage(full=True) as stage:
        stage.start_controller()
        return burst.measure(stage, plan.full_mirrors)


def _tell(what: str) -> None:
    sys.stderr.write(f"benchmarks: {what}\n")
