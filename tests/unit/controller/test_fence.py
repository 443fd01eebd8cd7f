"""What a process writes leaves it only while it holds the lease, however late it loses it."""

from __future__ import annotations

import asyncio
import ssl

import aiohttp
import pytest

from controller.errors import Fenced
from controller.fence import connector


class _Lease:
    """Held until it has been asked so many times."""

    def __init__(self, held_for: int) -> None:
        self.left = held_for

    def __call__(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Fenced("the lease is lost")


async def _received(lease: _Lease, requests: int) -> tuple[list[bytes], int]:
    """What a server got of so many requests, each on the same connection, and how many of them failed."""
    got: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            got.append(data)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    failed = 0
    async with aiohttp.ClientSession(connector=connector(lease, 8, ssl.create_default_context())) as session:
        for number in range(requests):
            try:
                async with session.post(url, data=f"write {number}"):
                    pass
            except aiohttp.ClientError:
                failed += 1
    server.close()
    await server.wait_closed()
    return got, failed


@pytest.mark.parametrize("held_for", [0, 1, 3])
async def test_nothing_leaves_once_the_lease_is_lost(held_for: int) -> None:
    """Neither over a connection that stands, nor over a new one."""
    got, failed = await _received(_Lease(held_for), 4)
    text = b"".join(got)
    assert [f"write {number}".encode() in text for number in range(4)] == [number < held_for for number in range(4)]
    assert failed == 4 - held_for


async def test_while_it_is_held_everything_does() -> None:
    got, failed = await _received(_Lease(1000), 4)
    assert b"".join(got).count(b"write ") == 4
    assert failed == 0
