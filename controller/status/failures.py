"""What is told of a reconcile that fails: which failures are worth a condition, and in which words. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from controller.kubeclient.errors import ClusterError, Conflict, NotLeader

if TYPE_CHECKING:
    from controller.model.results import ApplyResult

# So many in a row: an API server that was just restarted refuses once or twice, and that is no news of a mirror. With
# the queue's backoff the fifth comes within a second.
FAILURES: Final = 5
# Seconds: whatever was waited for that long before it failed is no blip either.
LONG: Final = 1.0
# Seconds that an object may be seen on its way out; Kubernetes takes one or two where nothing holds it.
GOING: Final = 10.0


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a mirror is not as its spec says, as a condition has it."""

    reason: str
    message: str


def worth_telling(error: Exception, in_a_row: int, seconds: float) -> Failure | None:
    """The failure to tell of, after so many in a row, the last of which took so many seconds; None for a passing one.

    A crash is a bug of ours, told at once, without its words: they may quote what is secret.
    """
    if isinstance(error, Conflict | NotLeader):
        return None
    if not isinstance(error, ClusterError):
        message = (
            f"The controller failed unexpectedly ({type(error).__name__}) and tries again; this is a bug. What exists"
            " stays as it is. The controller's log says more, at reconcile crashed."
        )
        return Failure("InternalError", message)
    if in_a_row < FAILURES and seconds < LONG:
        return None
    return Failure("ReconcileFailed", f"Tried again and again, more and more rarely. The API server says: {error}")


def stuck_deletions(applied: ApplyResult | None) -> Failure | None:
    """What is told of objects that were deleted some time ago and do not go; None where there are none.

    When that was by the API server's clock is told, not measured by: our own may be years away from it.
    """
    late = {what: each for what, each in (applied.going if applied else {}).items() if each[2] >= GOING}
    if not late:
        return None
    listed = "; ".join(
        f"{what} is being deleted since {since}" + (f", held by the finalizers {', '.join(held)}" if held else "")
        for what, (since, held, _) in sorted(late.items())
    )
    return Failure("ObjectTerminating", f"{listed}. It is made again as soon as it is gone.")
