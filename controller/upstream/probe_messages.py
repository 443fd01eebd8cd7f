"""Define the results of a probe. Pure.

Messages contain nothing that changes between equal probes, so that the status is not rewritten.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from controller.model.observation import Login, Verdict
from controller.status import reasons

if TYPE_CHECKING:
    from controller.model.condition import Reason

FORBIDDEN: Final = 403
NOT_FOUND: Final = 404
TOO_MANY: Final = 429
BROKEN: Final = range(500, 600)


@dataclass(frozen=True, slots=True)
class Question:
    """Parameters of a probe. Mirrors with equal parameters share one. Empty credentials mean anonymous."""

    url: str
    username: str = ""
    password: str = ""
    bundle: str | None = None

    def __repr__(self) -> str:
        return f"Question({self.url!r})"

    @property
    def has_credentials(self) -> bool:
        """Return True if there are credentials."""
        return bool(self.username and self.password)


def never(url: str) -> Verdict:
    """Return the result if probing is disabled."""
    return Verdict(reasons.NOT_PROBED, f"{url} is not asked by the controller (UPSTREAM_PROBE_SECONDS=0).")


def reachable(question: Question, login: Login | None = None) -> Verdict:
    """Return the result of an answer that a registry gives."""
    return Verdict(reasons.REACHABLE, f"{question.url} answers.", login)


def refused_by_status(party: str, status: int) -> Verdict:
    """Return the result of a refusal. `party` is the subject of the message."""
    if status == FORBIDDEN:
        reason, why = reasons.FORBIDDEN, "403 Forbidden: it does not serve this cluster, whatever the credentials"
    elif status == TOO_MANY:
        reason, why = reasons.RATE_LIMITED, "429 Too Many Requests: its rate limit is reached; credentials may raise it"
    elif status in BROKEN:
        reason, why = reasons.SERVER_ERROR, f"{status}: it is out of order, or what stands before it is"
    else:
        reason, why = (
            reasons.NOT_A_REGISTRY,
            f"{status} to what every registry knows; is it one, and is the port right?",
        )
    return Verdict(reason, f"{party} answers {why}. {_MEANWHILE}")


def unauthorized(question: Question) -> Verdict:
    """Return the result of a 401 without a challenge that the registry supports."""
    message = f"{question.url} answers 401 and offers no way to log in that the cache knows (Basic or Bearer)."
    return Verdict(reasons.UNAUTHORIZED, f"{message} {_MEANWHILE}")


def foreign_realm(question: Question, realm: str) -> Verdict:
    """Return the result of a realm that the registry ignores."""
    message = (
        f"{question.url} wants tokens of {realm}, which shares no host and port and no registrable domain with it:"
        " the cache sends no credentials there and asks for no token, so that every pull is refused."
    )
    return Verdict(reasons.FOREIGN_TOKEN_SERVICE, f"{message} {_MEANWHILE}")


def failed(reason: Reason, party: str, why: str) -> Verdict:
    """Return the result if there is no readable answer."""
    return Verdict(reason, f"{party} {why}. {_MEANWHILE}")


_MEANWHILE: Final = "The cache goes on serving what it has."
