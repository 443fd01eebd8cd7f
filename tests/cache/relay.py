"""Stand between the cache and its upstream: a relay that stops forwarding in different ways, and an HTTP proxy."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import asynccontextmanager
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Mode(Enum):
    """The treatment of connections."""

    FORWARD = "forward"
    SILENT = "accept, and send nothing"
    PARTIAL = "accept, and begin a TLS handshake"
    CLOSE = "accept, and close"


class Relay:
    """Forwards connections to a port. A new mode ends all connections."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._mode = Mode.FORWARD
        self._writers: set[asyncio.StreamWriter] = set()

    def change(self, mode: Mode) -> None:
        """Treat new connections in another way."""
        self._mode = mode
        for each in list(self._writers):
            each.close()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Treat one connection."""
        self._writers.add(writer)
        try:
            if self._mode is Mode.FORWARD:
                await self._forward(reader, writer)
            elif self._mode is Mode.PARTIAL:
                writer.write(b"\x16\x03\x03")  # the first bytes of a ServerHello
            if self._mode is not Mode.CLOSE:
                await reader.read(-1)
        except OSError:
            return
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        other_reader, other_writer = await asyncio.open_connection("127.0.0.1", self._target)
        self._writers.add(other_writer)
        try:
            await asyncio.gather(_copy(reader, other_writer), _copy(other_reader, writer))
        finally:
            self._writers.discard(other_writer)
            other_writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while piece := await reader.read(65536):
            writer.write(piece)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def relaying(target: int) -> AsyncIterator[tuple[Relay, int]]:
    """Relay to a port of this machine meanwhile; yield the relay and its own port."""
    relay = Relay(target)
    server = await asyncio.start_server(relay.accept, "127.0.0.1", 0)
    try:
        yield relay, server.sockets[0].getsockname()[1]
    finally:
        server.close()
        relay.change(Mode.CLOSE)


class HttpProxy:
    """Opens tunnels. All names mean this machine."""

    def __init__(self) -> None:
        self.targets: list[str] = []
        self.logins: set[str | None] = set()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Open one tunnel."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines if line)
            method, target, _ = head.split(" ")
            assert method == "CONNECT"
            self.targets.append(target)
            self.logins.add(headers.get("Proxy-Authorization"))
            other_reader, other_writer = await asyncio.open_connection("127.0.0.1", int(target.rpartition(":")[2]))
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            await asyncio.gather(_copy(reader, other_writer), _copy(other_reader, writer))
            other_writer.close()
        writer.close()


@asynccontextmanager
async def proxying() -> AsyncIterator[tuple[HttpProxy, int]]:
    """Serve an HTTP proxy meanwhile; yield it and its port."""
    proxy = HttpProxy()
    server = await asyncio.start_server(proxy.accept, "127.0.0.1", 0)
    try:
        yield proxy, server.sockets[0].getsockname()[1]
    finally:
        server.close()
