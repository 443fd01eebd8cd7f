"""Break the network: a TCP proxy before the API server.

It does not terminate TLS, so that client and server see each other's certificates.
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
    """Forward connections to `port`. Each fault affects present and new connections."""

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
        """Drop all bytes silently, as a network that loses all packets."""
        self._loop.call_soon_threadsafe(self._open.clear)

    def restore(self) -> None:
        """Forward the bytes held back, and all later ones."""
        self._loop.call_soon_threadsafe(self._open.set)

    def slow(self, seconds: float) -> None:
        """Delay each piece by some seconds."""
        self._delay = seconds

    def cut(self) -> None:
        """Abort all connections."""
        asyncio.run_coroutine_threadsafe(self._cut(), self._loop).result()

    def kubeconfig(self, cluster: Cluster, user: str, groups: list[str]) -> Path:
        """Write a kubeconfig for a user that connects through the proxy."""
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
        """End all tasks, so that asyncio logs no warnings."""
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
        except OSError:  # the API server is down; refuse as it would
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
