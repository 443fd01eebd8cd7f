"""Decide which failures of a reconcile become a condition. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from controller.kubeclient.errors import ClusterError, Conflict, NotLeader
from controller.status import reasons

if TYPE_CHECKING:
    from controller.model.observation import Observation
    from controller.model.results import ApplyResult

# Failures in a row. A restarted API server refuses once or twice; with the queue's backoff five take a second.
FAILURES: Final = 5
# Seconds of one reconcile; a failure after a longer wait is published at once.
SLOW_FAILURE: Final = 1.0
# Seconds. Kubernetes deletes an object without finalizers in one or two.
STUCK_AFTER: Final = 10.0


@dataclass(frozen=True, slots=True)
class Failure:
    """Reason and message of a condition."""

    reason: str
    message: str


def persistent_failure(error: Exception, in_a_row: int, seconds: float) -> Failure | None:
    """Return the failure to publish; None for a transient one. `seconds` is the duration of the last reconcile.

    The message of an unexpected exception may quote a Secret, so it is left out.
    """
    if isinstance(error, Conflict | NotLeader):
        return None
    if not isinstance(error, ClusterError):
        message = (
            f"The controller failed with {type(error).__name__} and retries. Existing objects stay unchanged."
            " This is a bug: report it with the log event 'reconcile crashed'."
        )
        return Failure(reasons.INTERNAL_ERROR.name, message)
    if in_a_row < FAILURES and seconds < SLOW_FAILURE:
        return None
    return Failure(
        reasons.RECONCILE_FAILED.name,
        f"Reconcile keeps failing and is retried with backoff. Last error: {error}",
    )


def failure_of(observation: Observation) -> Failure | None:
    """Return why objects of the mirror are not as desired; None if they are."""
    stuck, refused = stuck_deletions(observation.applied), refusal(observation)
    if stuck is not None:
        return replace(stuck, message=f"{stuck.message} {refused}".rstrip())
    return Failure(reasons.APPLY_FAILED.name, refused) if refused else None


def refusal(observation: Observation) -> str:
    """Return a sentence about the objects that the API server refused; empty if there are none."""
    return "" if observation.refused is None else f"The API server refused: {observation.refused}"


def stuck_deletions(applied: ApplyResult | None) -> Failure | None:
    """Return the failure for objects whose deletion does not end; None if there are none.

    The duration is measured by this process: the API server's clock may differ.
    """
    late = {what: each for what, each in (applied.deleting if applied else {}).items() if each[2] >= STUCK_AFTER}
    if not late:
        return None
    listed = " ".join(
        f"{what} is being deleted since {since}."
        + (f" Finalizers hold it: {', '.join(finalizers)}." if finalizers else "")
        for what, (since, finalizers, _) in sorted(late.items())
    )
    return Failure(reasons.OBJECT_TERMINATING.name, f"{listed} The controller creates it again afterwards.")
