"""What can go wrong at the door to the cluster. The client's own exceptions never pass it."""

from __future__ import annotations

import re
from typing import Final


class ClusterError(Exception):
    """A request that did not do what it should. `status` is the HTTP status, 0 where no answer came."""

    def __init__(self, message: str, status: int = 0, reason: str = "", retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.retry_after = retry_after


class NotFound(ClusterError):
    """The object, or the whole resource (a CRD that is not installed), is not there."""


class Conflict(ClusterError):
    """Somebody changed the object since it was read, or it has another UID."""


class AlreadyExists(Conflict):
    """There is an object of that name already, which the watch has not brought yet."""


class Gone(ClusterError):
    """The resource version is too old to watch from: list again."""


class Forbidden(ClusterError):
    """RBAC, a quota or an admission rule refused it."""


class Invalid(ClusterError):
    """The API server understood the object and will not have it."""


class Unavailable(ClusterError):
    """No answer, or one that says to come back later. `retry_after` seconds where the server named a time."""


class NotLeader(ClusterError):
    """Not sent: this process does not hold the lease for long enough to write."""


_BY_STATUS: dict[int, type[ClusterError]] = {
    401: Unavailable,  # a token that is about to be renewed: later, and no verdict on what was asked
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    422: Invalid,
}
_REFUSING: Final = frozenset(range(400, 500)) - {429}  # 429 and more say to come back, whoever says it


# What the API server makes of an admission webhook that says no. The status is then as the webhook likes, 400 where it
# names none, and no 404 or 409 of it means what it means elsewhere.
_DENIED: Final = re.compile(r'admission webhook "[^"]+" denied the request')


def error_for(status: int, reason: str, message: str, retry_after: float = 0.0) -> ClusterError:
    """The error that an answer of the API server stands for; `reason` is the one of its Status object."""
    if status in _REFUSING and _DENIED.match(message):
        return Forbidden(message, status, reason)
    if reason == "AlreadyExists":
        return AlreadyExists(message, status, reason)
    kind = _BY_STATUS.get(status, Unavailable if status >= 500 or status == 429 else ClusterError)  # noqa: PLR2004 (HTTP)
    return kind(message, status, reason, retry_after)
