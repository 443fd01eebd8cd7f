"""Define the errors of requests to the API server. The official client's exceptions are translated to these."""

from __future__ import annotations

import re
from typing import Final


class ClusterError(Exception):
    """Report a failed request. `status` is the HTTP status, or 0 without a response."""

    def __init__(self, message: str, status: int = 0, reason: str = "", retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.retry_after = retry_after


class NotFound(ClusterError):
    """Report a missing object, or a missing CustomResourceDefinition."""


class Conflict(ClusterError):
    """Report an object that changed since it was read, or that has another UID."""


class AlreadyExists(Conflict):
    """Report an object of that name, unknown to the watch so far."""


class Gone(ClusterError):
    """Report a resource version too old to watch from; list again."""


class Forbidden(ClusterError):
    """Report a refusal by RBAC, a quota or an admission rule."""


class Invalid(ClusterError):
    """Report an object that fails the API server's validation."""


class Unavailable(ClusterError):
    """Report a missing response, or a response that asks for a retry, after `retry_after` seconds if given."""


class NotLeader(ClusterError):
    """Report a write that was not sent: this process does not hold the lease."""


_BY_STATUS: dict[int, type[ClusterError]] = {
    401: Unavailable,  # an expired token; the next one works
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    422: Invalid,
}
_REFUSING: Final = frozenset(range(400, 500)) - {429}  # 429 and 5xx ask for a retry

# The API server's message for a denial by an admission webhook. The webhook chooses the status (400 by default), so
# that its 404 or 409 has another meaning than the API server's.
_DENIED: Final = re.compile(r'admission webhook "[^"]+" denied the request')


def error_for(status: int, reason: str, message: str, retry_after: float = 0.0) -> ClusterError:
    """Return the error for a response of the API server; `reason` comes from its Status object."""
    if status in _REFUSING and _DENIED.match(message):
        return Forbidden(message, status, reason)
    if reason == "AlreadyExists":
        return AlreadyExists(message, status, reason)
    kind = _BY_STATUS.get(status, Unavailable if status >= 500 or status == 429 else ClusterError)  # noqa: PLR2004 (HTTP)
    return kind(message, status, reason, retry_after)
