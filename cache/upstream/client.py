"""Send requests to one upstream: log in, follow redirects, pause after failures."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from yarl import URL

from cache.model.errors import TOO_MANY, UNAUTHORIZED, RegistryError
from cache.upstream.body import read_body
from cache.upstream.challenge import Challenge, challenges, preferred
from cache.upstream.credentials import Credentials
from cache.upstream.failures import failure_of, not_a_registry, refusal_of
from cache.upstream.health import Health
from cache.upstream.session import CONNECT_SECONDS, SILENCE_SECONDS
from cache.upstream.tokens import ANSWER_MAX, LoginMemory, TokenCache
from common.cache_protocol import CredentialsResult, UpstreamReason

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from cache.config import UpstreamConfig
    from cache.upstream.proxies import Proxies
    from cache.upstream.session import Session

REDIRECTS_MAX: Final = 5
# Seconds until the headers of an answer. The limits of the session do not count while a proxy opens a tunnel.
HEADERS_SECONDS: Final = CONNECT_SECONDS + SILENCE_SECONDS
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


@dataclass(slots=True)
class UpstreamClient:
    """One upstream. `login` is what the last probe found of the credentials."""

    config: UpstreamConfig
    session: Session
    proxies: Proxies
    credentials: Credentials = field(default_factory=Credentials)
    health: Health = field(default_factory=Health)
    login: CredentialsResult = CredentialsResult.NOT_CHECKED
    tokens: TokenCache = field(init=False)
    memory: LoginMemory = field(default_factory=LoginMemory)

    def __post_init__(self) -> None:
        self.tokens = TokenCache(self.config.url, self._fetch, self.memory)

    @property
    def party(self) -> str:
        """Return how messages name the upstream."""
        return self.config.url

    @asynccontextmanager
    async def ask(
        self, method: str, path: str, repository: str, kind: str, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request and yield the answer, whatever its status. Raises RegistryError if there is none.

        `repository` is the scope of the token. `kind` groups requests that share a rate limit.
        """
        try:
            response = await self._with_login(method, path, repository, dict(headers or {}))
        except RegistryError as error:
            # A redirect may be wrong for one repository. The other errors are those of the token service.
            self._record(kind, error, repository if error.reason is UpstreamReason.NOT_A_REGISTRY else "")
            raise
        except (aiohttp.ClientError, OSError, ValueError) as error:
            failure = failure_of(error, self.party)
            self._record(kind, failure)
            raise failure from error
        try:
            self.health.note_limit(response.headers, time.monotonic())
            yield response
        finally:
            response.release() if response.content.at_eof() else response.close()

    def follow_credentials(self, credentials: Credentials) -> None:
        """Use these credentials for new requests. Others than before end tokens and limits."""
        if credentials != self.credentials:
            self.credentials = credentials
            self.tokens.clear()
            self.health.renew()
            self.login = CredentialsResult.NOT_CHECKED

    def check(self, kind: str, repository: str) -> None:
        """Raise the last error while requests of this kind, or for this repository, are paused."""
        error = self.health.refusal(kind, time.monotonic(), repository)
        if error is not None:
            raise error

    def refused(self, response: aiohttp.ClientResponse, kind: str, repository: str) -> RegistryError:
        """Record an answer other than success and return its error."""
        error = refusal_of(response.status, response.headers, self.party)
        self._record(kind, error, repository)
        return error

    def succeeded(self, kind: str) -> None:
        """Record a usable answer."""
        self.health.succeeded(kind, time.monotonic())

    def failed(self, kind: str, error: RegistryError, repository: str = "") -> None:
        """Record an answer that turned out to be unusable."""
        self._record(kind, error, repository)

    async def follow(
        self, method: str, path: str, headers: dict[str, str], authorization: str
    ) -> aiohttp.ClientResponse:
        """Send a request and follow redirects; another origin does not get the Authorization header."""
        url = origin = URL(f"{self.config.url}{path}", encoded=True)
        for _ in range(REDIRECTS_MAX + 1):
            own = {"Authorization": authorization} if authorization and url.origin() == origin.origin() else {}
            response = await self._send(method, url, {**headers, **own})
            location = response.headers.get("Location")
            if response.status not in _REDIRECTS or not location:
                return response
            response.release()
            target = url.join(URL(location, encoded=True))
            if target.scheme not in ("http", "https") or (url.scheme == "https" and target.scheme == "http"):
                raise not_a_registry(self.party, "a redirect to another scheme")
            url = target.with_user(None)
        raise not_a_registry(self.party, "too many redirects")

    def challenge_in(self, response: aiohttp.ClientResponse) -> Challenge | None:
        """Return the challenge to answer; None if it cannot be answered.

        The target of a redirect must not choose the token service, which gets the credentials.
        """
        if response.url.origin() != URL(self.config.url).origin():
            return None
        return preferred(challenges(response.headers.getall("WWW-Authenticate", [])))

    def _record(self, kind: str, error: RegistryError, repository: str = "") -> None:
        now = time.monotonic()
        if error.is_outage:
            self.health.failed(kind, error, now, repository)
        else:
            self.health.refused(kind, now)

    async def _with_login(
        self, method: str, path: str, repository: str, headers: dict[str, str]
    ) -> aiohttp.ClientResponse:
        basic = self.credentials.basic
        known = self._challenge_for(repository)
        authorization = await self._authorization(known, basic) if known else ""
        response = await self.follow(method, path, headers, authorization)
        if response.status != UNAUTHORIZED:
            return response
        response.release()
        challenge = self._choose(response, repository, has_credentials=bool(basic))
        if challenge is None:
            return response
        if authorization and challenge.scheme == "bearer":
            self.tokens.forget(challenge, basic)
        answer = await self._authorization(challenge, basic)
        if answer == authorization:
            return response
        return await self.follow(method, path, headers, answer)

    def _challenge_for(self, repository: str) -> Challenge | None:
        """Return the last challenge of a repository, or that of another with the scope changed."""
        known, other = (self.memory.challenges.get((self.config.url, name)) for name in (repository, "*"))
        return known or (other.with_scope(f"repository:{repository}:pull") if other else None)

    def _choose(self, response: aiohttp.ClientResponse, repository: str, *, has_credentials: bool) -> Challenge | None:
        """Return the challenge to answer, and remember it for the next request; None if it cannot be answered."""
        challenge = self.challenge_in(response)
        if challenge is None or (challenge.scheme == "basic" and not has_credentials):
            return None
        if challenge.scheme == "bearer" and "scope" not in challenge.parameters:
            challenge = challenge.with_scope(f"repository:{repository}:pull")
        for name in (repository, "*"):
            self.memory.challenges[self.config.url, name] = challenge
        return challenge

    async def _authorization(self, challenge: Challenge, basic: str) -> str:
        if challenge.scheme == "basic":
            return basic
        return f"Bearer {await self.tokens.token(challenge, basic)}"

    async def _send(self, method: str, url: URL, headers: Mapping[str, str]) -> aiohttp.ClientResponse:
        async with asyncio.timeout(HEADERS_SECONDS):
            return await self.session.current.request(
                method, url, headers=headers, allow_redirects=False, proxy=self.proxies.of(str(url))
            )

    async def _fetch(self, url: URL, headers: dict[str, str]) -> tuple[int, Any, bytes]:
        """Get the answer of a token service. Raises RegistryError."""
        refusal = self.health.refusal("token", time.monotonic())
        if refusal is not None:
            raise refusal
        party = f"The token service {url.host}"
        try:
            async with asyncio.timeout(SILENCE_SECONDS):
                response = await self.session.current.get(
                    url, headers=headers, max_redirects=REDIRECTS_MAX, proxy=self.proxies.of(str(url))
                )
                async with response:
                    body = await read_body(response, ANSWER_MAX, party)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise failure_of(error, party) from error
        if response.status == TOO_MANY:
            self.health.failed("token", refusal_of(response.status, response.headers, party), time.monotonic())
        return response.status, response.headers, body
