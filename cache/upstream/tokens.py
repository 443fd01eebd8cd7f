"""Get bearer tokens: one request per realm, service and scope until the token expires."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import orjson
from yarl import URL

from cache.coalesce import Coalescer
from cache.limited_dict import LimitedDict
from cache.model.errors import BAD_GATEWAY, FORBIDDEN, UNAUTHORIZED, RegistryError
from cache.upstream.failures import is_success, not_a_registry, refusal_of
from common.cache_protocol import UpstreamReason

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cache.upstream.challenge import Challenge

# Seconds that a token lasts if the service does not say so (distribution's token specification).
DEFAULT_LIFETIME: Final = 60.0
# A token is renewed this much before its end, at most half of its life.
MARGIN: Final = 10.0
# Seconds for which a refusal is remembered: some services lock an account after a few failed logins.
REFUSAL_SECONDS: Final = 30.0
# Bytes of an answer. Tokens have a few kilobytes.
ANSWER_MAX: Final = 256 * 1024
# Repositories of all upstreams together: some 35 MB with tokens of Docker Hub's size.
_REMEMBERED_MAX: Final = 10_000


class TokenRefusedError(RegistryError):
    """The token service answers 401 or 403, which is the status of this error."""


@dataclass(frozen=True, slots=True)
class Token:
    """A bearer token, or its refusal, and the end of it by the monotonic clock."""

    value: str = field(repr=False)
    until: float
    refusal: TokenRefusedError | None = None


@dataclass(frozen=True, slots=True)
class LoginMemory:
    """Tokens and challenges of all upstreams, so that one limit bounds them. Keys begin with the upstream's URL.

    Tokens are kept by scope and credentials: a change of these may come while a request is in progress.
    """

    tokens: LimitedDict[tuple[str, tuple[str, str, str], str], Token] = field(
        default_factory=lambda: LimitedDict(_REMEMBERED_MAX), repr=False
    )
    challenges: LimitedDict[tuple[str, str], Challenge] = field(default_factory=lambda: LimitedDict(_REMEMBERED_MAX))


@dataclass(slots=True)
class TokenCache:
    """The tokens of one upstream. `fetch(url, headers)` returns status, headers and body of a GET."""

    upstream: str
    fetch: Callable[[URL, dict[str, str]], Awaitable[tuple[int, Any, bytes]]]
    memory: LoginMemory
    _requests: Coalescer[Token] = field(default_factory=Coalescer)

    def clear(self) -> None:
        """Forget all tokens: the credentials changed."""
        for key in [each for each in self.memory.tokens if each[0] == self.upstream]:
            del self.memory.tokens[key]

    def forget(self, challenge: Challenge, basic: str) -> None:
        """Forget the token of one scope: the upstream refused it."""
        self.memory.tokens.pop((self.upstream, challenge.key, basic), None)

    async def token(self, challenge: Challenge, basic: str) -> str:
        """Return the token of a scope. All who ask at once share one request. Raises RegistryError."""
        key = (self.upstream, challenge.key, basic)
        token = self.memory.tokens.get(key)
        if token is None or token.until <= time.monotonic():
            token = await self._requests.join(key, lambda: self.request(challenge, basic))[0]
        if token.refusal is not None:
            raise replace(token.refusal)  # an exception keeps the frames of each raise
        return token.value

    def may_log_in(self, challenge: Challenge) -> bool:
        """Return True if credentials may be sent to the token service. They leave TLS only if the upstream has none."""
        return challenge.realm.startswith("https://") or self.upstream.startswith("http://")

    async def request(self, challenge: Challenge, basic: str) -> Token:
        """Ask for a token, whatever is known, and remember the answer. Raises RegistryError."""
        parts = urlsplit(challenge.realm)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise not_a_registry(self.upstream, "its challenge names no token service")
        asked = {name: value for name in ("service", "scope") if (value := challenge.parameters.get(name))}
        headers = {"Authorization": basic} if basic and self.may_log_in(challenge) else {}
        status, answer, body = await self.fetch(URL(challenge.realm).update_query(asked), headers)
        party = f"{self.upstream}'s token service {parts.netloc.rpartition('@')[2]}"
        if status in (UNAUTHORIZED, FORBIDDEN):
            why = "the credentials are wrong, or lack access" if headers else "it requires credentials"
            refusal = TokenRefusedError(status, f"{party} gives no token: {why}.")
            token = Token("", time.monotonic() + REFUSAL_SECONDS, refusal)
        elif is_success(status):
            token = _token_in(body, party)
        else:
            raise refusal_of(status, answer, party)
        self.memory.tokens[self.upstream, challenge.key, basic] = token
        return token


def _token_in(body: bytes, party: str) -> Token:
    """Return the token of an answer. Raises RegistryError if it has none that fits into a header."""
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        answer = None
    fields = answer if isinstance(answer, dict) else {}
    value, lifetime = fields.get("token") or fields.get("access_token"), fields.get("expires_in")
    if not isinstance(value, str) or not value or not value.isascii() or not value.isprintable():
        raise RegistryError(BAD_GATEWAY, f"{party} answers without a token.", reason=UpstreamReason.NO_TOKEN)
    seconds = float(lifetime) if isinstance(lifetime, int | float) and lifetime > 0 else DEFAULT_LIFETIME
    return Token(value, time.monotonic() + seconds - min(MARGIN, seconds / 2))
