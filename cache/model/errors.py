"""Define the errors that clients receive, in the form of the OCI distribution specification."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import orjson

if TYPE_CHECKING:
    from common.cache_protocol import UpstreamReason

BAD_REQUEST: Final = HTTPStatus.BAD_REQUEST
UNAUTHORIZED: Final = HTTPStatus.UNAUTHORIZED
FORBIDDEN: Final = HTTPStatus.FORBIDDEN
NOT_FOUND: Final = HTTPStatus.NOT_FOUND
NOT_ALLOWED: Final = HTTPStatus.METHOD_NOT_ALLOWED
TOO_MANY: Final = HTTPStatus.TOO_MANY_REQUESTS
BAD_GATEWAY: Final = HTTPStatus.BAD_GATEWAY
UNAVAILABLE: Final = HTTPStatus.SERVICE_UNAVAILABLE
TIMED_OUT: Final = HTTPStatus.GATEWAY_TIMEOUT

# Codes of the specification; other statuses of an upstream become UNKNOWN.
_CODES: Final[dict[int, str]] = {
    BAD_REQUEST: "UNSUPPORTED",
    UNAUTHORIZED: "UNAUTHORIZED",
    FORBIDDEN: "DENIED",
    NOT_FOUND: "NOT_FOUND",
    NOT_ALLOWED: "UNSUPPORTED",
    TOO_MANY: "TOOMANYREQUESTS",
}


@dataclass(slots=True)
class RegistryError(Exception):
    """A response other than success.

    `retry_after` is in seconds. `reason` is for `/status`, None if the error says nothing of the upstream as a whole.
    """

    status: int
    message: str
    code: str = ""
    retry_after: float | None = None
    reason: UpstreamReason | None = None

    def __str__(self) -> str:
        return self.message

    @property
    def body(self) -> bytes:
        """Return the JSON body."""
        code = self.code or _CODES.get(self.status, "UNKNOWN")
        return orjson.dumps({"errors": [{"code": code, "message": self.message}]})

    @property
    def is_outage(self) -> bool:
        """Return True if the upstream gave no usable answer, so that stored content may stand in."""
        return self.status == TOO_MANY or self.status >= HTTPStatus.INTERNAL_SERVER_ERROR


class WrongContentError(Exception):
    """The whole body arrived and does not have the digest."""


class ClientGoneError(Exception):
    """The client left, or reads nothing."""
