"""When a mirror is to be looked at again after a pass. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from controller.facts import Facts, Lacking
from controller.outcomes import Done, Outcome, Stalled, Waiting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from controller.apply import Applied
    from controller.findings import Findings

# Seconds. A certificate's renewal lies months ahead; clocks that are set are noticed by themselves.
LONGEST_LOOK: Final = 43_200.0
# What is due now was done in this pass; a second more, since the ends of certificates are whole seconds.
CERTIFICATE_LOOK: Final = 1.0
# What the watch brings by itself, should it ever not: an object on its way out, a claim that is to be bound.
PASSING_LOOK: Final = 10.0
# What is mended elsewhere, without an event for us, is looked at again after as long as it has been so, within these.
# Refused, by a quota, an admission rule of somebody else's, a StorageClass; and for a second by an API server that has
# just started and knows no rights yet.
REFUSED_LOOKS: Final = (1.0, 60.0)
# Stored otherwise than it was sent, by somebody's admission webhook or policy: many of them are there to stay.
ALTERED_LOOKS: Final = (60.0, 3600.0)

# Seconds of quiet with an object that somebody keeps changing: each change would be looked at otherwise, in vain.
CONTESTED_DEAFNESS: Final = 1.0
# Between questions to agents whose nodes are not ready, or are to be left.
SURVEY_LOOK: Final = 10.0


def is_refused(findings: Findings) -> bool:
    """Whether the API server would not have something that is wanted."""
    return findings.refused is not None or (findings.storage is not None and findings.storage.refused is not None)


def outcome(findings: Findings, survey: float | None, refused: float) -> Outcome:
    """What a pass came to.

    `survey` is in how many seconds agents are to be asked again, `refused` for how many something has been refused.
    """
    facts = findings.facts
    waits = dict(_of_writes(findings, refused))
    if isinstance(facts, Facts):
        waits |= _of_facts(facts)
        if survey is not None:
            waits["NodesPending"] = survey
    reason = min(waits, key=waits.__getitem__, default=None)
    if reason is None:
        return Stalled(facts.reason, facts.message) if isinstance(facts, Lacking) else Done()
    return Waiting(waits[reason], reason, CONTESTED_DEAFNESS if "Contested" in waits else 0.0)


def _of_writes(findings: Findings, refused: float) -> Iterator[tuple[str, float]]:
    """What is to be looked at again without an event having to bring it back, and in how many seconds."""
    applied, storage = findings.applied, findings.storage
    if is_refused(findings):
        reason = "ResizeRefused" if findings.refused is None else "ApplyFailed"
        yield reason, _as_long_again(refused, REFUSED_LOOKS)
    if storage is not None and storage.renewing:
        yield "ClaimsRenewing", PASSING_LOOK
    if applied is not None:
        yield from _of_objects(applied)


def _of_facts(facts: Facts) -> Iterator[tuple[str, float]]:
    if facts.withdrawing:
        yield "NodesLeaving", SURVEY_LOOK
    if facts.tls.again is not None:
        yield "CertificateRenewal", max(CERTIFICATE_LOOK, min(facts.tls.again, LONGEST_LOOK))


def _of_objects(applied: Applied) -> Iterator[tuple[str, float]]:
    if applied.passing or applied.replaced:
        yield "ObjectsPassing", PASSING_LOOK
    if applied.wait:
        yield "Contested", applied.wait
    if applied.altered_for is not None:
        yield "Altered", _as_long_again(applied.altered_for, ALTERED_LOOKS)


def _as_long_again(seconds: float, within: tuple[float, float]) -> float:
    shortest, longest = within
    return min(max(seconds, shortest), longest)
