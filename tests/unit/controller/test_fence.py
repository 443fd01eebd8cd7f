"""What a process writes leaves it only while it holds the lease, however late it loses it."""

from __future__ import annotations

import asyncio
import socket
import ssl

import aiohttp
import pytest

from controller.kubeclient.errors import NotLeader
from controller.kubeclient.fencing import connector
from controller.objects.lease import LEASE_DURATION, RENEW_DEADLINE


class _Lease:
    """Held until it has been asked so many times."""

    def __init__(self, held_for: int) -> None:
        self.left = held_for

    def __call__(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise NotLeader("the lease is lost")


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


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="Linux has it")
async def test_what_the_kernel_holds_is_given_up_before_another_may_lead() -> None:
    """A network that heals later would bring it to the API server otherwise, long after the lease was lost."""
    over = asyncio.Event()

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await over.wait()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    door = connector(_Lease(1000), 8, ssl.create_default_context())
    async with aiohttp.ClientSession(connector=door) as session, session.post(url, data="write") as answer:
        assert answer.connection is not None
        assert answer.connection.transport is not None
        used = answer.connection.transport.get_extra_info("socket")
        milliseconds = used.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
        over.set()
        await answer.read()
    server.close()
    await server.wait_closed()
    assert 0 < milliseconds <= 1000 * (LEASE_DURATION - RENEW_DEADLINE)


async def test_while_it_is_held_everything_does() -> None:
    got, failed = await _received(_Lease(1000), 4)
    assert b"".join(got).count(b"write ") == 4
    assert failed == 0
