"""Probe an upstream as `docker login` does: `/v2/`, a token if required, and `/v2/` again.

No probe names an image, so that none counts as a pull at Docker Hub.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

import aiohttp
import orjson

from cache.model.errors import FORBIDDEN, UNAUTHORIZED, RegistryError
from cache.model.reference import VERSION_HEADER
from cache.upstream.body import read_body
from cache.upstream.failures import failure_of, is_success, not_a_registry, refusal_of
from common.cache_protocol import CredentialsResult, UpstreamReason

if TYPE_CHECKING:
    from cache.upstream.challenge import Challenge
    from cache.upstream.client import UpstreamClient

# Seconds for a whole probe. A registry answers in one.
PROBE_SECONDS: Final = 10.0
# A rate limit of probes is none of images.
_PROBE: Final = "probe"
_REFUSALS: Final = frozenset({UNAUTHORIZED, FORBIDDEN})
# Bytes. A registry answers a few.
_ANSWER_MAX: Final = 4096


async def probe(client: UpstreamClient) -> None:
    """Probe an upstream, and record in its client what it answers. An outage keeps the result of the last login."""
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            client.login = await _logged_in(client)
    except RegistryError as error:
        _record(client, error)
    except (aiohttp.ClientError, OSError, ValueError) as error:
        _record(client, failure_of(error, client.party))
    else:
        client.health.succeeded(_PROBE, time.monotonic())


def _record(client: UpstreamClient, error: RegistryError) -> None:
    if error.is_outage:
        client.health.failed(_PROBE, error, time.monotonic())
    else:
        client.health.judged(error, time.monotonic())


async def _logged_in(client: UpstreamClient) -> CredentialsResult:
    """Return what the upstream answers to the credentials. Raises RegistryError if it answers unlike a registry."""
    status, challenge = await _ping(client, "")
    if status != UNAUTHORIZED:
        return CredentialsResult.NOT_CHECKED
    if challenge is None:
        message = f"{client.party} answers 401 and offers no login that the cache knows (Basic or Bearer)."
        raise RegistryError(UNAUTHORIZED, message, reason=UpstreamReason.UNAUTHORIZED)
    if challenge.scheme == "basic":
        basic = client.credentials.basic
        return await _judged(client, basic, has_credentials=True) if basic else CredentialsResult.REQUIRED
    return await _with_token(client, challenge)


async def _with_token(client: UpstreamClient, challenge: Challenge) -> CredentialsResult:
    basic = client.credentials.basic if client.tokens.may_log_in(challenge) else ""
    # Credentials are checked as a whole. Those that lack access to one image are valid.
    challenge = challenge.with_scope("") if basic else challenge
    token = await client.tokens.request(challenge, basic)
    if token.refusal is not None:
        if basic:
            return CredentialsResult.REFUSED
        # Without credentials, only a 401 without scope applies to all images.
        clear = token.refusal.status == UNAUTHORIZED and "scope" not in challenge.parameters
        return CredentialsResult.REQUIRED if clear else CredentialsResult.NOT_VERIFIED
    return await _judged(client, f"Bearer {token.value}", has_credentials=bool(basic))


async def _judged(client: UpstreamClient, authorization: str, *, has_credentials: bool) -> CredentialsResult:
    """Return what the upstream answers to a login. It may refuse an anonymous token here, and take it for images."""
    status, _ = await _ping(client, authorization)
    if not has_credentials:
        return CredentialsResult.NOT_CHECKED
    return CredentialsResult.REFUSED if status in _REFUSALS else CredentialsResult.ACCEPTED


async def _ping(client: UpstreamClient, authorization: str) -> tuple[int, Challenge | None]:
    """Return the status of `/v2/` and its challenge. Raises RegistryError for anything else than 200 and 401.

    403 is a refusal of the login, if there is one. A 200 names the API or has no content.
    """
    response = await client.follow("GET", "/v2/", {}, authorization)
    try:
        if response.status == UNAUTHORIZED or (authorization and response.status == FORBIDDEN):
            return response.status, client.challenge_in(response)
        if not is_success(response.status):
            raise _refusal(response, client.party)
        is_named = VERSION_HEADER in response.headers
        if not is_named and _has_content(await read_body(response, _ANSWER_MAX, client.party)):
            raise not_a_registry(client.party, "content at `/v2/`")
        return response.status, None
    finally:
        response.close()


def _has_content(body: bytes) -> bool:
    """Return False for what registries answer to `/v2/`: nothing, or JSON without a key, such as `{}` and `true`."""
    try:
        document = orjson.loads(body.strip() or b"{}")
    except orjson.JSONDecodeError:
        return True
    return bool(document) and document is not True


def _refusal(response: aiohttp.ClientResponse, party: str) -> RegistryError:
    error = refusal_of(response.status, response.headers, party)
    if error.reason is None:
        error = RegistryError(error.status, f"{party} answers {error.status} to `/v2/`.")
    return error
