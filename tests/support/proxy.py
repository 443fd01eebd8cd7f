"""A network that can be broken: a proxy before the API server that passes bytes on, or does not.

It does not look into TLS, so that client and server see each other's real certificates.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, Final, Self

from tests.localcluster.ports import LOOPBACK, free_port

if TYPE_CHECKING:
    from pathlib import Path

    from tests.localcluster.cluster import Cluster

CHUNK: Final = 65_536


class Proxy:
    """Passes connections on to `port`. All that follows holds for those that are there and those that come."""

    def __init__(self, port: int) -> None:
        self.port = free_port()
        self._target = port
        self._loop = asyncio.new_event_loop()
        self._open = asyncio.Event()
        self._open.set()
        self._delay = 0.0
        self._writers: set[asyncio.StreamWriter] = set()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def drop(self) -> None:
        """Lets nothing through any more, without a word to anybody, as a network does that loses all packets."""
        self._loop.call_soon_threadsafe(self._open.clear)

    def restore(self) -> None:
        """Lets through what waits, and all that comes."""
        self._loop.call_soon_threadsafe(self._open.set)

    def slow(self, seconds: float) -> None:
        """Keeps each piece for so long before it goes on."""
        self._delay = seconds

    def cut(self) -> None:
        """Ends all connections there are."""
        asyncio.run_coroutine_threadsafe(self._cut(), self._loop).result()

    def kubeconfig(self, cluster: Cluster, user: str, groups: list[str]) -> Path:
        """A kubeconfig for that user, who comes through here."""
        path = cluster.kubeconfig_for(user, groups, cluster.folder / f"through-{self.port}")
        path.write_text(path.read_text().replace(cluster.url, f"https://{LOOPBACK}:{self.port}"))
        return path

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, LOOPBACK, self.port))
        self._loop.run_forever()
        server.close()
        self._loop.run_until_complete(self._end())
        self._loop.close()

    async def _end(self) -> None:
        """Nothing is left that somebody could warn of."""
        await self._cut()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        self._writers.add(to_client)
        try:
            await self._open.wait()
            server, to_server = await asyncio.open_connection(LOOPBACK, self._target)
        except OSError:  # nobody listens there: refused here as it would be there
            to_client.transport.abort()
            self._writers.discard(to_client)
            return
        self._writers.add(to_server)
        await asyncio.gather(self._pass(client, to_server), self._pass(server, to_client))
        self._writers -= {to_client, to_server}

    async def _pass(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(CHUNK):
                await self._open.wait()
                await asyncio.sleep(self._delay)
                target.write(data)
                await target.drain()
        target.close()
