"""When a mirror is to be looked at again after a pass. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from controller.model.inputs import Inputs, MissingInput
from controller.model.results import Done, Outcome, RequeueAfter, Stalled

if TYPE_CHECKING:
    from collections.abc import Iterator

    from controller.model.observation import Observation
    from controller.model.results import ApplyResult

# Seconds. A certificate's renewal lies months ahead; clocks that are set are noticed by themselves.
LONGEST_LOOK: Final = 43_200.0
# What is due now was done in this pass; a second more, since the ends of certificates are whole seconds.
CERTIFICATE_LOOK: Final = 1.0
# What the watch brings by itself, should it ever not: an object on its way out, a claim that is to be bound.
TERMINATING_REQUEUE: Final = 10.0
# What is mended elsewhere, without an event for us, is looked at again after as long as it has been so, within these.
# Refused, by a quota, an admission rule of somebody else's, a StorageClass; and for a second by an API server that has
# just started and knows no rights yet.
REFUSED_LOOKS: Final = (1.0, 60.0)
# Stored otherwise than it was sent, by somebody's admission webhook or policy: many of them are there to stay.
ALTERED_LOOKS: Final = (60.0, 3600.0)

# Seconds of quiet with an object that somebody keeps changing: each change would be looked at otherwise, in vain.
CONFLICT_COOLDOWN: Final = 1.0
# Between questions to agents whose nodes are not ready, or are to be left.
SURVEY_INTERVAL: Final = 10.0


def is_refused(observation: Observation) -> bool:
    """Whether the API server would not have something that is wanted."""
    return observation.refused is not None or (
        observation.storage is not None and observation.storage.refused is not None
    )


def outcome(observation: Observation, survey: float | None, refused: float) -> Outcome:
    """What a pass came to.

    `survey` is in how many seconds agents are to be asked again, `refused` for how many something has been refused.
    """
    inputs = observation.inputs
    waits = dict(_of_writes(observation, refused))
    if isinstance(inputs, Inputs):
        waits |= _of_facts(inputs)
        if survey is not None:
            waits["NodesPending"] = survey
    reason = min(waits, key=waits.__getitem__, default=None)
    if reason is None:
        return Stalled(inputs.reason, inputs.message) if isinstance(inputs, MissingInput) else Done()
    return RequeueAfter(waits[reason], reason, CONFLICT_COOLDOWN if "Contested" in waits else 0.0)


def _of_writes(observation: Observation, refused: float) -> Iterator[tuple[str, float]]:
    """What is to be looked at again without an event having to bring it back, and in how many seconds."""
    applied, storage = observation.applied, observation.storage
    if is_refused(observation):
        reason = "ResizeRefused" if observation.refused is None else "ApplyFailed"
        yield reason, _as_long_again(refused, REFUSED_LOOKS)
    if storage is not None and storage.renewing:
        yield "ClaimsRenewing", TERMINATING_REQUEUE
    if applied is not None:
        yield from _of_objects(applied)


def _of_facts(inputs: Inputs) -> Iterator[tuple[str, float]]:
    if inputs.withdrawing:
        yield "NodesLeaving", SURVEY_INTERVAL
    if inputs.tls.again is not None:
        yield "CertificateRenewal", max(CERTIFICATE_LOOK, min(inputs.tls.again, LONGEST_LOOK))


def _of_objects(applied: ApplyResult) -> Iterator[tuple[str, float]]:
    if applied.passing or applied.replaced:
        yield "ObjectsPassing", TERMINATING_REQUEUE
    if applied.wait:
        yield "Contested", applied.wait
    if applied.altered_for is not None:
        yield "Altered", _as_long_again(applied.altered_for, ALTERED_LOOKS)


def _as_long_again(seconds: float, within: tuple[float, float]) -> float:
    shortest, longest = within
    return min(max(seconds, shortest), longest)
