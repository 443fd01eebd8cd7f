"""The one door to the cluster: the official client's asyncio half, raw JSON through it, errors of our own.

Objects stay the dictionaries that JSON makes: decoding a list into the client's models costs five times as much
(benchmarks/README says), and a field that the models do not know yet would be lost.
"""

from __future__ import annotations

import math
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import urlencode

import aiohttp
import orjson
from kubernetes.aio import client, config

from controller.kubeclient.config import Writing
from controller.kubeclient.errors import ClusterError, NotFound, Unavailable, error_for
from controller.objects.preconditions import preconditions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from common.types import Json
    from controller.objects.resources import Kind


# Seconds for one request. An API server that is alive answers within its own 60 s limit; a shorter wait keeps a lost
# connection from holding a worker for long, and admission webhooks may take up to 30 s of it.
REQUEST_TIMEOUT: Final = 35.0
# Seconds without a byte on a watch. The API server sends a bookmark about once a minute, so that a longer silence
# mostly means a connection that is dead without having been closed. One that was just started and has seen no change
# of a kind sends none of it, where etcd tells it no progress: then what goes on is as good as what was given up.
WATCH_SILENCE: Final = 90.0
# Seconds that one watch lasts; the server spreads watches by its own choice between this and twice as much.
WATCH_DURATION: Final = 300
# What managedFields and conflicts of a server-side apply call us; unset it would be "Python".
AGENT: Final = "registrymirror-controller"
# Objects asked for at a time when a kind is listed. A list of 500 StatefulSets is 3 MB, ten times as much decoded, and
# memory that was once taken is hardly ever given back.
PAGE: Final = 50


class KubeClient:
    """Reads and writes objects as JSON.

    `may_write` is asked before each write, and again for each piece of it that leaves the process: it raises where it
    may not be sent, or gives the seconds it may take.
    """

    def __init__(
        self,
        configuration: client.Configuration,
        may_write: Callable[[], float] = lambda: math.inf,
        request_timeout: float = REQUEST_TIMEOUT,
    ) -> None:
        self._configuration = configuration
        self._request_timeout = request_timeout
        self._rest = client.ApiClient(configuration).rest_client
        self._writing = Writing(configuration, may_write)
        self._may_write = may_write

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._rest.close()
        await self._writing.close()

    async def pages(
        self, kind: Kind, namespace: str | None, selector: str = "", labels: str = ""
    ) -> AsyncIterator[tuple[list[Json], str]]:
        """All objects of a kind, page by page, each with the resource version that all of them were read at.

        `selector` selects by fields, `labels` by labels. Raises Gone where the pages take longer than the API server
        keeps the version.
        """
        query = {"limit": str(PAGE)} | ({"fieldSelector": selector} if selector else {})
        query |= {"labelSelector": labels} if labels else {}
        while True:
            body = await self._request("GET", kind.path(namespace), query)
            metadata = body["metadata"]
            # The items of a list do not say what they are, unlike the objects of a watch and of an answer.
            yield (
                [{"apiVersion": kind.api, "kind": kind.name, **each} for each in body["items"]],
                metadata["resourceVersion"],
            )
            if not metadata.get("continue"):
                return
            query["continue"] = metadata["continue"]

    async def get(self, kind: Kind, namespace: str | None, name: str) -> Json:
        """One object. Raises NotFound."""
        return await self._request("GET", kind.path(namespace, name))

    async def create(self, kind: Kind, namespace: str | None, body: Json) -> Json:
        """Makes an object and returns it as stored. Raises AlreadyExists, Invalid, Forbidden."""
        return await self._request("POST", kind.path(namespace), body=body, within=self._may_write())

    async def patch(
        self,
        kind: Kind,
        namespace: str | None,
        name: str,
        body: Json,
        *,
        subresource: str | None = None,
        dry_run: bool = False,
    ) -> Json:
        """Sends a JSON merge patch and returns the object as stored.

        `body` carries metadata.resourceVersion, so that a change by somebody else ends in Conflict.
        """
        query = {"dryRun": "All"} if dry_run else {}
        path = kind.path(namespace, name, subresource)
        return await self._request("PATCH", path, query, body, within=self._may_write())

    async def replace(self, kind: Kind, namespace: str | None, name: str, body: Json) -> Json:
        """Writes a whole object. Not fenced: it is how the lease itself is taken and given up."""
        return await self._request("PUT", kind.path(namespace, name), body=body)

    async def create_unfenced(self, kind: Kind, namespace: str | None, body: Json) -> Json:
        """Makes an object without holding the lease: the lease itself."""
        return await self._request("POST", kind.path(namespace), body=body)

    async def delete(
        self, kind: Kind, namespace: str | None, current: Json, *, propagation: str = "Background"
    ) -> None:
        """Deletes exactly the object that was read: its UID and resource version are preconditions.

        One that is gone already is what was wanted. Raises Conflict where it has changed.
        """
        body = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": propagation,
            "preconditions": preconditions(current),
        }
        path = kind.path(namespace, current["metadata"]["name"])
        with suppress(NotFound):
            await self._request("DELETE", path, body=body, within=self._may_write())

    @asynccontextmanager
    async def watch(
        self, kind: Kind, namespace: str | None, resource_version: str, selector: str = ""
    ) -> AsyncIterator[AsyncIterator[Json]]:
        """Events after a resource version, bookmarks among them, until the stream ends or is silent for long.

        Raises Gone where the version is too old, at once or later, and Unavailable where the stream breaks.
        """
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(WATCH_DURATION),
        }
        if selector:
            query["fieldSelector"] = selector
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=REQUEST_TIMEOUT, sock_read=WATCH_SILENCE)
        response = await self._send("GET", kind.path(namespace), query, None, timeout)
        try:
            yield _events(response)
        finally:
            # In the middle of a stream the goodbye of TLS would go on behind our back, and outlive the event loop.
            if response.connection is not None and response.connection.transport is not None:
                response.connection.transport.abort()
            response.close()

    async def _request(
        self,
        method: str,
        path: str,
        query: dict[str, str] | None = None,
        body: Json | None = None,
        within: float | None = None,
    ) -> Json:
        """One request; with `within`, seconds, one that is sent only while this process may write."""
        fenced = within is not None
        timeout = aiohttp.ClientTimeout(total=min(within or math.inf, self._request_timeout))
        response = await self._send(method, path, query or {}, body, timeout, fenced=fenced)
        async with _translated():
            return orjson.loads(await response.read())  # type: ignore[no-any-return]

    async def _send(
        self,
        method: str,
        path: str,
        query: dict[str, str],
        body: Json | None,
        limits: aiohttp.ClientTimeout,
        *,
        fenced: bool = False,
    ) -> aiohttp.ClientResponse:
        async with _translated():
            headers = {"Accept": "application/json", "User-Agent": AGENT, **await self._authorization()}
        if method == "PATCH":
            headers["Content-Type"] = "application/merge-patch+json"
        url = f"{self._configuration.host}{path}" + (f"?{urlencode(query)}" if query else "")
        async with _translated():
            transport = self._writing if fenced else self._rest
            answer = await transport.request(  # type: ignore[no-untyped-call]
                method, url, headers=headers, body=body, _request_timeout=limits
            )
            response: aiohttp.ClientResponse = answer.response
            if response.status >= 400:  # noqa: PLR2004 (HTTP: an error)
                raise _error(response.status, response.headers.get("Retry-After", ""), await response.read())
        return response

    async def _authorization(self) -> dict[str, str]:
        token = await self._configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
        return {"Authorization": token} if token else {}


async def _events(response: aiohttp.ClientResponse) -> AsyncIterator[Json]:
    async with _translated():
        while line := await _next(response):
            event: Json = orjson.loads(line)
            if event["type"] == "ERROR":
                status = event["object"]
                raise error_for(status.get("code", 0), status.get("reason", ""), status.get("message", "watch ended"))
            yield event


async def _next(response: aiohttp.ClientResponse) -> bytes:
    """The next line of a watch; an empty one at its end, and where it has been silent for WATCH_SILENCE."""
    try:
        return await response.content.readline()
    except TimeoutError:
        return b""


@asynccontextmanager
async def _translated() -> AsyncIterator[None]:
    """Turns what the client, its transport or a half answer raise into Unavailable."""
    try:
        yield
    except ClusterError:
        raise
    except TimeoutError as error:
        raise Unavailable("the API server did not answer in time", reason="Timeout") from error
    except (aiohttp.ClientError, client.ApiException, config.ConfigException, OSError, ValueError) as error:
        # ValueError: JSON cut off in the middle, or a line longer than the buffer.
        raise Unavailable(
            f"the API server cannot be reached: {error or type(error).__name__}", reason="Unreachable"
        ) from error


def _error(status: int, retry_after: str, body: bytes) -> ClusterError:
    details: Json = {}
    with suppress(ValueError):
        details = orjson.loads(body)
    if not isinstance(details, dict):
        details = {}
    message = details.get("message") or body[:200].decode(errors="replace") or f"HTTP status {status}"
    return error_for(
        status, details.get("reason") or "", message, float(retry_after) if retry_after.isdecimal() else 0.0
    )
