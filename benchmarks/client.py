"""The fastest client in Python: aiohttp, orjson and bodies as bytes. The limit is measured with it."""

from __future__ import annotations

import asyncio
import json
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import aiohttp
import orjson

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from common.types import Json
    from tests.localcluster.cluster import Cluster


WORKERS: Final = 16  # as in the peers' measurement; more are no faster on two cores
JSON_PATCH: Final = "application/json-patch+json"


class Refused(Exception):
    """The API server refused a request of a benchmark, so its figures are void."""


class Client:
    """A client with an administrator's rights in one cluster."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def post(self, path: str, body: bytes) -> None:
        """Create an object."""
        await self._send("POST", path, body, "application/json")

    async def patch(self, path: str, operations: list[Json]) -> None:
        """Apply a JSON Patch to an object."""
        await self._send("PATCH", path, orjson.dumps(operations), JSON_PATCH)

    async def delete(self, path: str) -> None:
        """Delete an object."""
        await self._send("DELETE", path, None, "application/json")

    async def get(self, path: str) -> Json:
        """Return an object."""
        body: Json = orjson.loads(await self._send("GET", path, None, "application/json"))
        return body

    @asynccontextmanager
    async def watch(self, collection: str, name: str, version: str) -> AsyncIterator[AsyncIterator[Json]]:
        """Yield the events of one object after a resource version."""
        query = {"watch": "true", "fieldSelector": f"metadata.name={name}", "resourceVersion": version}
        async with self._session.get(collection, params=query) as response:
            yield _events(response)

    async def _send(self, method: str, path: str, body: bytes | None, content: str) -> bytes:
        async with self._session.request(method, path, data=body, headers={"Content-Type": content}) as response:
            answer = await response.read()
            if response.status >= 400:
                raise Refused(f"{method} {path}: {response.status} {answer[:300].decode(errors='replace')}")
            return answer


async def _events(response: aiohttp.ClientResponse) -> AsyncIterator[Json]:
    async for line in response.content:
        yield orjson.loads(line)


@asynccontextmanager
async def connected(cluster: Cluster) -> AsyncIterator[Client]:
    """Yield a client without a limit of connections."""
    connector = aiohttp.TCPConnector(ssl=_context(cluster), limit=0)
    async with aiohttp.ClientSession(cluster.url, connector=connector, trust_env=False) as session:
        yield Client(session)


async def post_all(client: Client, posts: Iterable[tuple[str, bytes]], workers: int = WORKERS) -> None:
    """Create objects, given as path and body. Each worker sends one request at a time."""
    pending = iter(posts)

    async def work() -> None:
        for path, body in pending:
            await client.post(path, body)

    async with asyncio.TaskGroup() as group:
        for _ in range(workers):
            group.create_task(work())


def _context(cluster: Cluster) -> ssl.SSLContext:
    user = json.loads(cluster.kubeconfig.read_text())["users"][0]["user"]
    context = ssl.create_default_context(cafile=str(cluster.ca_file))
    context.load_cert_chain(user["client-certificate"], user["client-key"])
    return context
