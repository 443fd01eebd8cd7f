"""Read and write objects of the API server: the official client's asyncio half, raw JSON, errors of this package.

Objects stay dictionaries: decoding a list into the client's models takes five times as long (benchmarks/README), and
drops fields that the models do not have.
"""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final, Self

import aiohttp
import orjson

from controller.kubeclient.errors import NotFound, error_for
from controller.kubeclient.transport import Transport, translated
from controller.objects.preconditions import preconditions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from kubernetes.aio import client

    from common.types import Json
    from controller.objects.resources import Kind


# Seconds for one request. The API server answers within 60 s, of which admission webhooks may take 30 s. A longer wait
# would let a lost connection block a worker.
REQUEST_TIMEOUT: Final = 35.0
# Seconds without a byte on a watch. The API server sends a bookmark about once a minute, so that a longer silence
# mostly means a dead connection. A server without changes of a kind may send none; then the watch just starts again.
WATCH_SILENCE: Final = 90.0
# Seconds that one watch lasts; the API server adds up to as much again to spread the watches.
WATCH_DURATION: Final = 300
# Objects per page of a list. A list of 500 StatefulSets is 3 MB of JSON, and ten times as much memory once decoded.
PAGE_SIZE: Final = 50


class KubeClient:
    """Read and write objects as JSON.

    `check_leader` runs before each write and raises NotLeader if another process may lead. A process that is suspended
    just after the check sends that write late. Its uid and resourceVersion make it a Conflict if the object changed,
    and the leader repairs an object created late.
    """

    def __init__(
        self,
        configuration: client.Configuration,
        check_leader: Callable[[], None] = lambda: None,
        request_timeout: float = REQUEST_TIMEOUT,
    ) -> None:
        self._transport = Transport(configuration, request_timeout)
        self._check_leader = check_leader

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._transport.close()

    async def pages(
        self, kind: Kind, namespace: str | None, selector: str = "", labels: str = ""
    ) -> AsyncIterator[tuple[list[Json], str]]:
        """Yield all objects of a kind page by page, each with the resource version of the list.

        `selector` is a field selector, `labels` a label selector. Raises Gone if the version expires before the last
        page.
        """
        query = {"limit": str(PAGE_SIZE)} | _selectors(selector, labels)
        while True:
            body = await self._transport.request("GET", kind.path(namespace), query)
            metadata = body["metadata"]
            # Items of a list lack apiVersion and kind, unlike the objects of other responses.
            yield (
                [{"apiVersion": kind.api, "kind": kind.name, **each} for each in body["items"]],
                metadata["resourceVersion"],
            )
            if not metadata.get("continue"):
                return
            query["continue"] = metadata["continue"]

    async def get(self, kind: Kind, namespace: str | None, name: str) -> Json:
        """Return one object. Raises NotFound."""
        return await self._transport.request("GET", kind.path(namespace, name))

    async def create(self, kind: Kind, namespace: str | None, body: Json) -> Json:
        """Create an object and return it as stored. Raises AlreadyExists, Invalid, Forbidden."""
        return await self._write("POST", kind.path(namespace), body)

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
        """Send a JSON merge patch and return the object as stored.

        `body` has metadata.resourceVersion. Raises Conflict if another writer changed the object.
        """
        query = {"dryRun": "All"} if dry_run else {}
        return await self._write("PATCH", kind.path(namespace, name, subresource), body, query)

    async def replace(self, kind: Kind, namespace: str | None, name: str, body: Json) -> Json:
        """Replace an object and return it as stored. Raises Conflict."""
        return await self._write("PUT", kind.path(namespace, name), body)

    async def delete(
        self, kind: Kind, namespace: str | None, current: Json, *, propagation: str = "Background"
    ) -> None:
        """Delete exactly the object that was read; its uid and resourceVersion are preconditions.

        Ignore NotFound. Raises Conflict if the object has changed.
        """
        body = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": propagation,
            "preconditions": preconditions(current),
        }
        path = kind.path(namespace, current["metadata"]["name"])
        with suppress(NotFound):
            await self._write("DELETE", path, body)

    async def _write(self, method: str, path: str, body: Json, query: dict[str, str] | None = None) -> Json:
        self._check_leader()
        return await self._transport.request(method, path, query, body)

    @asynccontextmanager
    async def watch(
        self, kind: Kind, namespace: str | None, resource_version: str, selector: str = "", labels: str = ""
    ) -> AsyncIterator[AsyncIterator[Json]]:
        """Yield the events after a resource version, with bookmarks, until the stream ends or stays silent.

        Raises Gone if the version is too old, and Unavailable if the stream breaks.
        """
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(WATCH_DURATION),
        }
        query |= _selectors(selector, labels)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=REQUEST_TIMEOUT, sock_read=WATCH_SILENCE)
        response = await self._transport.send("GET", kind.path(namespace), query, None, timeout)
        try:
            yield _events(response)
        finally:
            # An orderly end of TLS would go on in the background and outlive the event loop.
            if response.connection is not None and response.connection.transport is not None:
                response.connection.transport.abort()
            response.close()


def _selectors(fields: str, labels: str) -> dict[str, str]:
    return {key: text for key, text in (("fieldSelector", fields), ("labelSelector", labels)) if text}


async def _events(response: aiohttp.ClientResponse) -> AsyncIterator[Json]:
    async with translated():
        while line := await _next_line(response):
            event: Json = orjson.loads(line)
            if event["type"] == "ERROR":
                status = event["object"]
                raise error_for(status.get("code", 0), status.get("reason", ""), status.get("message", "watch ended"))
            yield event


async def _next_line(response: aiohttp.ClientResponse) -> bytes:
    """Return the next line of a watch, or an empty one at its end and after WATCH_SILENCE."""
    try:
        return await response.content.readline()
    except TimeoutError:
        return b""
