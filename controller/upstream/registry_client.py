"""Probe an upstream as `docker login` does: `/v2/`, a token if required, and `/v2/` again.

No probe names an image, so that none counts as a pull at Docker Hub.
"""

from __future__ import annotations

import asyncio
import errno
import json
import ssl
from base64 import b64encode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self

import aiohttp
from yarl import URL

from common.proxies import Proxies
from controller.model.observation import Login, Verdict
from controller.status import reasons
from controller.upstream import probe_messages
from controller.upstream.auth_challenge import Challenge, challenges, may_get_credentials
from controller.upstream.resolver import Names
from controller.upstream.tls import Trust, has_system_cas

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from controller.model.condition import Reason
    from controller.settings import ControllerSettings
    from controller.upstream.probe_messages import Question

# Seconds for a whole probe. A registry answers in one.
TIMEOUT: Final = 10.0
# Bytes. A token has a few kilobytes.
ANSWER_MAX: Final = 256 * 1024
REDIRECTS_MAX: Final = 5

OK: Final = 200
UNAUTHORIZED: Final = 401
REFUSALS: Final = frozenset({UNAUTHORIZED, probe_messages.FORBIDDEN})

_PROXY_ERRORS: Final = (aiohttp.ClientProxyConnectionError, aiohttp.ClientHttpProxyError)
# Reason and message of each kind of error. Subclasses come first.
_ERRORS: Final[tuple[tuple[tuple[type[Exception], ...], tuple[Reason, str]], ...]] = (
    (
        _PROXY_ERRORS,
        (reasons.PROXY_FAILED, "cannot be asked: the proxy (HTTPS_PROXY, HTTP_PROXY) does not answer or refuses"),
    ),
    (
        (aiohttp.ClientConnectorDNSError,),
        (reasons.NAME_NOT_FOUND, "has a name that cannot be looked up: no name server knows it, or none answers"),
    ),
    (
        (aiohttp.ClientSSLError, ssl.SSLError),
        (reasons.TLS_FAILED, "does not speak TLS as it should; is it http://, or another port?"),
    ),
    ((aiohttp.ClientConnectorError,), (reasons.CONNECTION_FAILED, "cannot be reached: there is no way to its address")),
    (
        (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, OSError),
        (reasons.CONNECTION_BROKEN, "breaks the connection before it has answered"),
    ),
)


class Asker:
    """Client for probes, with a new connection for each."""

    def __init__(self, settings: ControllerSettings, timeout: float = TIMEOUT) -> None:
        self._proxies = Proxies(settings.https_proxy, settings.http_proxy, settings.no_proxy)
        self._timeout = timeout
        self._trust = Trust()
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(resolver=Names(), use_dns_cache=False, force_close=True, limit=0)
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            # The settings name the proxies. A .netrc file is ignored.
            trust_env=False,
            # Do not decompress: an answer could expand to gigabytes.
            auto_decompress=False,
            headers={"Accept-Encoding": "identity", "User-Agent": "registry-mirror-controller"},
            timeout=aiohttp.ClientTimeout(total=None),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del kind, error, trace
        if self._session is not None:
            await self._session.close()

    async def ask(self, question: Question) -> Verdict:
        """Return the result of a probe. All errors become results."""
        assert self._session is not None, "entered first"  # noqa: S101 (a mistake of ours, not of an upstream)
        context = await self._trust.context(question.bundle)
        talk = _Talk(self._session, self._proxies, question, context, question.url)
        try:
            async with asyncio.timeout(self._timeout):
                return await talk.verdict()
        except TimeoutError:
            why = f"does not answer within {self._timeout:g} s"
            return probe_messages.failed(reasons.TIMED_OUT, talk.party, why)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            reason, why = why_failed(error)
            return probe_messages.failed(reason, talk.party, why)


@dataclass(slots=True)
class _Talk:
    session: aiohttp.ClientSession
    proxies: Proxies
    question: Question
    context: ssl.SSLContext
    party: str  # subject of the messages
    _headers: dict[str, str] = field(default_factory=dict)

    async def verdict(self) -> Verdict:
        status, wanted = await self._ping({})
        if status == OK:
            return probe_messages.reachable(self.question)
        if status != UNAUTHORIZED:
            return probe_messages.refused_by_status(self.party, status)
        schemes = {each.scheme: each for each in reversed(wanted)}
        # The registry prefers Basic if both are offered.
        if "basic" in schemes:
            return await self._basic()
        if "bearer" in schemes:
            return await self._bearer(schemes["bearer"])
        return probe_messages.unauthorized(self.question)

    async def _basic(self) -> Verdict:
        if not self.question.has_credentials:
            return probe_messages.reachable(self.question, Login.REQUIRED)
        return self._judged((await self._ping(self._login()))[0])

    async def _bearer(self, challenge: Challenge) -> Verdict:
        if not may_get_credentials(self.question.url, challenge.realm):
            return probe_messages.foreign_realm(self.question, challenge.realm)
        realm = URL(challenge.realm)
        self.party = f"{self.question.url}'s token service {realm.origin()}"
        status, token = await self._token(realm, challenge)
        if status in REFUSALS:
            return self._no_token(status, challenge)
        if status != OK:
            return probe_messages.refused_by_status(self.party, status)
        if not token:
            return probe_messages.failed(reasons.NO_TOKEN, self.party, "answers without a token")
        self.party = self.question.url
        return self._judged((await self._ping({"Authorization": f"Bearer {token}"}))[0])

    def _no_token(self, status: int, challenge: Challenge) -> Verdict:
        """Return the result of a refused token.

        Without credentials, only a 401 without scope applies to all repositories.
        """
        if self.question.has_credentials:
            return probe_messages.reachable(self.question, Login.REFUSED)
        clear = status == UNAUTHORIZED and "scope" not in challenge.parameters
        return probe_messages.reachable(self.question, Login.REQUIRED if clear else Login.NOT_VERIFIED)

    def _judged(self, status: int) -> Verdict:
        """Return the result of a ping with a token. An anonymous token without repository may be refused here."""
        if status == OK:
            return probe_messages.reachable(self.question, Login.ACCEPTED if self.question.has_credentials else None)
        if status in REFUSALS:
            return probe_messages.reachable(self.question, Login.REFUSED if self.question.has_credentials else None)
        return probe_messages.refused_by_status(self.party, status)

    async def _ping(self, headers: Mapping[str, str]) -> tuple[int, list[Challenge]]:
        async with self._get(URL(f"{self.question.url}/v2/"), headers) as answer:
            return answer.status, challenges(answer.headers.getall("WWW-Authenticate", []))

    async def _token(self, realm: URL, challenge: Challenge) -> tuple[int, str]:
        """Return status and token. The token is empty if there is none."""
        asked = {name: challenge.parameters[name] for name in ("service",) if name in challenge.parameters}
        if self.question.has_credentials:
            asked["account"] = self.question.username
        elif "scope" in challenge.parameters:
            asked["scope"] = challenge.parameters["scope"]
        async with self._get(realm.update_query(asked), self._login()) as answer:
            body = await answer.content.read(ANSWER_MAX) if answer.status == OK else b""
            while body and len(body) < ANSWER_MAX and (more := await answer.content.read(ANSWER_MAX - len(body))):
                body += more
            return answer.status, _token_in(body)

    def _get(self, url: URL, headers: Mapping[str, str]) -> Any:
        return self.session.get(
            url,
            headers=headers,
            ssl=self.context,
            proxy=self.proxies.of(str(url)),
            max_redirects=REDIRECTS_MAX,
        )

    def _login(self) -> dict[str, str]:
        """Return Basic credentials in UTF-8, or nothing."""
        if not self.question.has_credentials:
            return {}
        pair = f"{self.question.username}:{self.question.password}".encode()
        return {"Authorization": f"Basic {b64encode(pair).decode()}"}


def _token_in(body: bytes) -> str:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(answer, dict):
        return ""
    token = answer.get("access_token") or answer.get("token")
    # The token must fit into a header.
    return token if isinstance(token, str) and token.isascii() and token.isprintable() else ""


def why_failed(error: Exception) -> tuple[Reason, str]:
    """Return the reason, and a predicate for the message."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return _untrusted(error.certificate_error)
    if getattr(error, "errno", None) == errno.ECONNREFUSED and not isinstance(error, _PROXY_ERRORS):
        return reasons.CONNECTION_REFUSED, "refuses connections: nothing listens there, or a firewall blocks it"
    found = next((result for kinds, result in _ERRORS if isinstance(error, kinds)), None)
    return found or (reasons.NOT_A_REGISTRY, "answers something that is no HTTP")


def _untrusted(error: Exception) -> tuple[Reason, str]:
    if not has_system_cas():
        return reasons.NOT_PROBED, (
            "has a certificate that the controller cannot judge: there are no CA certificates in its image"
        )
    detail = getattr(error, "verify_message", "") or "it cannot be verified"
    return reasons.UNTRUSTED_CERTIFICATE, (
        f"has a certificate that is not trusted ({detail}); put its CA into the bundle that CA_CERTIFICATE_BUNDLE names"
    )
