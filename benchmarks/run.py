"""Run all measurements, each figure close in time to its limit."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks import admission, burst, drift, limit, rest, restart, reviews
from benchmarks.stage import a_stage
from benchmarks.subjects import objects_of, peers_objects

if TYPE_CHECKING:
    from benchmarks.admission import Admission
    from benchmarks.burst import Burst
    from benchmarks.drift import Repair
    from benchmarks.limit import Limit
    from benchmarks.rest import Rest
    from benchmarks.restart import Restart
    from benchmarks.reviews import Reviews


@dataclass(frozen=True)
class Plan:
    """Sizes of a run. `full_mirrors` are created beside all controllers of Kubernetes."""

    mirrors: int
    rounds: int
    rest_seconds: float
    full_mirrors: int


@dataclass(frozen=True)
class Round:
    """Limit and burst in direct succession, because the speed of a machine changes."""

    limit: Limit
    peers_limit: Limit
    burst: Burst

    @property
    def ratio(self) -> float:
        """Return the burst as a multiple of its limit."""
        return self.burst.seconds / self.limit.seconds


@dataclass(frozen=True)
class Run:
    """All figures of one run."""

    plan: Plan
    rounds: list[Round]
    restart: Restart
    rest: Rest
    drift: list[Repair]
    reviews: Reviews
    with_webhook: Burst
    full: Burst | None
    admission: Admission

    @property
    def typical(self) -> Round:
        """Return the round with the median ratio."""
        return sorted(self.rounds, key=lambda each: each.ratio)[len(self.rounds) // 2]


def run(plan: Plan) -> Run:
    """Run the plan and print progress to stderr. Later measurements use the stage of the last burst."""
    rounds = [_round(plan, number) for number in range(1, plan.rounds)]
    limits = _limits(plan, plan.rounds)
    with a_stage() as stage:
        stage.start_controller()
        _progress(f"burst of {plan.mirrors} mirrors, round {plan.rounds} of {plan.rounds}")
        rounds.append(Round(*limits, burst.measure(stage, plan.mirrors)))
        _progress("restart")
        restarted = restart.measure(stage, plan.mirrors)
        _progress(f"at rest for {plan.rest_seconds:.0f} s")
        rested = rest.measure(stage, plan.rest_seconds)
        _progress("drift")
        drifted = drift.measure(stage, plan.mirrors)
        _progress("admission through the API server")
        reviewed = reviews.measure(stage)
    with_webhook, full = _burst_with_webhook(plan), _burst_beside_all(plan)
    _progress("webhook alone")
    return Run(plan, rounds, restarted, rested, drifted, reviewed, with_webhook, full, admission.measure())


def _round(plan: Plan, number: int) -> Round:
    limits = _limits(plan, number)
    with a_stage() as stage:
        stage.start_controller()
        _progress(f"burst of {plan.mirrors} mirrors, round {number} of {plan.rounds}")
        return Round(*limits, burst.measure(stage, plan.mirrors))


def _limits(plan: Plan, number: int) -> tuple[Limit, Limit]:
    """Measure both limits, each on a new API server, as the burst."""
    ours = objects_of(plan.mirrors)
    found = []
    for number_of_objects, objects in (("six", ours), ("four", peers_objects(ours))):
        _progress(f"limit, {number_of_objects} objects per mirror, round {number} of {plan.rounds}")
        with a_stage() as stage:
            found.append(limit.measure(stage, objects))
    return found[0], found[1]


def _burst_with_webhook(plan: Plan) -> Burst:
    _progress("burst with the webhook")
    with a_stage() as stage:
        stage.start_controller()
        reviews.register(stage)
        return burst.measure(stage, plan.mirrors)


def _burst_beside_all(plan: Plan) -> Burst | None:
    """Measure beside the controllers of Kubernetes, which create pods and claims, twenty per second."""
    if not plan.full_mirrors:
        return None
    _progress(f"burst of {plan.full_mirrors} mirrors beside all controllers of Kubernetes")
    with a_stage(full=True) as stage:
        stage.start_controller()
        return burst.measure(stage, plan.full_mirrors)


def _progress(step: str) -> None:
    sys.stderr.write(f"benchmarks: {step}\n")
