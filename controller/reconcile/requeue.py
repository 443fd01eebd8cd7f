"""Decide when to reconcile a mirror again. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from controller.model.inputs import Inputs, MissingInput
from controller.model.results import Done, Outcome, RequeueAfter, Stalled
from controller.status import reasons

if TYPE_CHECKING:
    from collections.abc import Iterator

    from controller.model.observation import Observation
    from controller.model.results import ApplyResult

# All values are in seconds.
# The ends of certificates are whole seconds.
SHORTEST_REQUEUE: Final = 1.0
# Fallback in case the watch event is missed: an object being deleted, a claim not yet bound.
TERMINATING_REQUEUE: Final = 10.0
# Backoff, within these bounds, while the API server refuses a write (quota, admission policy, missing right).
REFUSED_BACKOFF: Final = (1.0, 60.0)
# Shortest time between two reconciles while another writer keeps changing an object.
CONFLICT_COOLDOWN: Final = 1.0
# Interval for asking agents whose nodes are not ready, or leave the mirror.
SURVEY_INTERVAL: Final = 10.0


def is_refused(observation: Observation) -> bool:
    """Return True if the API server refused an object or a resize."""
    return observation.refused is not None or (
        observation.storage is not None and observation.storage.refused is not None
    )


def outcome(observation: Observation, survey: float | None, refused_for: float, search: float | None = None) -> Outcome:
    """Return the outcome of a reconcile.

    `survey` and `search` are the seconds until the next ones, `refused_for` those since a refusal.
    """
    inputs = observation.inputs
    waits = dict(_for_writes(observation, refused_for))
    if isinstance(inputs, Inputs):
        waits |= _for_inputs(inputs)
        if survey is not None:
            waits[reasons.NODES_PENDING.name] = survey
        if search is not None:
            waits["PodsLacking"] = search
    reason = min(waits, key=waits.__getitem__, default=None)
    if reason is None:
        return Stalled(inputs.reason, inputs.message) if isinstance(inputs, MissingInput) else Done()
    return RequeueAfter(waits[reason], reason, CONFLICT_COOLDOWN if "RepairLimited" in waits else 0.0)


def _for_writes(observation: Observation, refused_for: float) -> Iterator[tuple[str, float]]:
    applied, storage = observation.applied, observation.storage
    if is_refused(observation):
        reason = reasons.RESIZE_REFUSED if observation.refused is None else reasons.APPLY_FAILED
        yield reason.name, backoff(refused_for, REFUSED_BACKOFF)
    if storage is not None and storage.waiting:
        yield "ClaimsRenewing", TERMINATING_REQUEUE
    if applied is not None:
        yield from _for_objects(applied)


def _for_inputs(inputs: Inputs) -> Iterator[tuple[str, float]]:
    if inputs.withdrawing:
        yield "NodesLeaving", SURVEY_INTERVAL
    if inputs.tls.again is not None:
        yield "CertificateRenewal", max(SHORTEST_REQUEUE, inputs.tls.again)


def _for_objects(applied: ApplyResult) -> Iterator[tuple[str, float]]:
    if applied.terminating or applied.replaced:
        yield "ObjectsTerminating", TERMINATING_REQUEUE
    if applied.wait:
        yield "RepairLimited", applied.wait


def backoff(elapsed: float, bounds: tuple[float, float]) -> float:
    """Return a wait as long as the time elapsed so far, within the bounds."""
    shortest, longest = bounds
    return min(max(elapsed, shortest), longest)
