"""Connections are accepted at once, up to a limit, also after a shortage of file descriptors."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import uvloop

from cache.server.acceptor import Acceptor

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

COUNT = 50


class Protocol(asyncio.Protocol):
    """Counts its connections, and keeps them open."""

    made = 0
    all_made = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count a connection."""
        type(self).made += 1
        if self.made == COUNT:
            self.all_made.set()
        self._transport = transport


@contextmanager
def accepting(protocol: type[Protocol], limit: int = COUNT) -> Iterator[list[socket.socket]]:
    """Accept connections meanwhile, up to a limit; yield clients that have connected before."""
    with ExitStack() as stack:
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=COUNT))
        address = listening.getsockname()
        clients = [stack.enter_context(socket.create_connection(address)) for _ in range(COUNT)]
        acceptor = Acceptor(listening, protocol, lambda count: protocol.made + count <= limit, None, 1.0, 1.0)
        acceptor.start()
        stack.callback(acceptor.stop)
        yield clients


def on_uvloop(test: Callable[[], Coroutine[None, None, None]]) -> None:
    """Run a test on the event loop of the cache."""
    uvloop.run(test())


def test_all_waiting_connections_are_accepted() -> None:
    """A few iterations of the event loop suffice for all connections."""

    class Counted(Protocol):
        pass

    async def test() -> None:
        with accepting(Counted):
            for _ in range(10):
                await asyncio.sleep(0)
            assert Counted.made == COUNT

    on_uvloop(test)


def test_connections_beyond_limit_are_closed() -> None:
    class Counted(Protocol):
        pass

    async def test() -> None:
        with accepting(Counted, limit=COUNT - 1) as clients:
            loop = asyncio.get_running_loop()
            clients[-1].setblocking(False)
            async with asyncio.timeout(10):
                assert await loop.sock_recv(clients[-1], 1) == b""
            assert Counted.made == COUNT - 1

    on_uvloop(test)


def test_acceptor_survives_shortage_of_descriptors() -> None:
    """Connections that found no file descriptor are accepted as soon as there are some."""

    class Counted(Protocol):
        all_made = asyncio.Event()

    async def test() -> None:
        with accepting(Counted):
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            with os.fdopen(os.dup(0)) as next_free:
                resource.setrlimit(resource.RLIMIT_NOFILE, (next_free.fileno() + 2, hard))
            try:
                for _ in range(10):
                    await asyncio.sleep(0)
                assert Counted.made < COUNT
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            async with asyncio.timeout(10):
                await Counted.all_made.wait()

    on_uvloop(test)
