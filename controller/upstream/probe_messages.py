"""What an upstream's answers come to. Pure, and the same for every mirror that asks the same.

No message has anything that changes from one time to the next: a verdict that stays writes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from controller.model.observation import NOT_PROBED, REACHABLE, Login, Verdict

FORBIDDEN: Final = 403
NOT_FOUND: Final = 404
TOO_MANY: Final = 429
BROKEN: Final = range(500, 600)


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: mirrors that have all of this in common share one answer. Empty credentials mean anonymous."""

    url: str
    username: str = ""
    password: str = ""
    bundle: str | None = None

    def __repr__(self) -> str:
        return f"Question({self.url!r})"

    @property
    def has_credentials(self) -> bool:
        """Whether there is anything to log in with."""
        return bool(self.username and self.password)


def never(url: str) -> Verdict:
    """Where the controller is told not to ask."""
    return Verdict(NOT_PROBED, f"{url} is not asked by the controller (UPSTREAM_PROBE_SECONDS=0).")


def reachable(question: Question, login: Login | None = None) -> Verdict:
    """It answers as a registry does."""
    return Verdict(REACHABLE, f"{question.url} answers.", login)


def refused_by_status(party: str, status: int) -> Verdict:
    """An answer that is no way on. `party` is who gave it, for a sentence."""
    if status == FORBIDDEN:
        reason, why = "Forbidden", "403 Forbidden: it does not serve this cluster, whatever the credentials"
    elif status == TOO_MANY:
        reason, why = "RateLimited", "429 Too Many Requests: its rate limit is reached; credentials may raise it"
    elif status in BROKEN:
        reason, why = "ServerError", f"{status}: it is out of order, or what stands before it is"
    else:
        reason, why = "NotARegistry", f"{status} to what every registry knows; is it one, and is the port right?"
    return Verdict(reason, f"{party} answers {why}. {_MEANWHILE}")


def unauthorized(question: Question) -> Verdict:
    """401 without a way to log in that the registry knows."""
    message = f"{question.url} answers 401 and offers no way to log in that the cache knows (Basic or Bearer)."
    return Verdict("Unauthorized", f"{message} {_MEANWHILE}")


def foreign_realm(question: Question, realm: str) -> Verdict:
    """The registry drops such a challenge in silence, and then is refused everything."""
    message = (
        f"{question.url} wants tokens of {realm}, which has neither its host and port nor its registrable domain:"
        " the cache sends no credentials there and asks for no token, so that every pull is refused."
    )
    return Verdict("ForeignTokenService", f"{message} {_MEANWHILE}")


def failed(reason: str, party: str, why: str) -> Verdict:
    """No answer at all, or none that can be read."""
    return Verdict(reason, f"{party} {why}. {_MEANWHILE}")


_MEANWHILE: Final = "The cache goes on serving what it has."
