"""Clients that are slow, silent or too large harm no other client."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from typing import TYPE_CHECKING

import pytest

from tests.cache.images import digest_of
from tests.cache.kinds import large

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from tests.cache.program import Cache
    from tests.cache.upstream import Registry

CONNECTIONS = 1000
FIRST_REQUEST_SECONDS = 15.0
STALLED_SECONDS = 60.0
MEMORY_MAX = 256 * 1024 * 1024
GET = b"GET /v2/ HTTP/1.1\r\nHost: x\r\n"
CLIENT_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"r" * 500  # its first bytes
ENDLESS = {
    "path": (b"GET /v2/", b"x" * 65536),
    "header": (GET + b"X: ", b"y" * 65536),
    "headers": (GET, b"X: y\r\n" * 10_000),
    "chunked body": (GET + b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + b"z" * 65536 + b"\r\n"),
    "body": (GET + b"Content-Length: 100000000000\r\n\r\n", b"z" * 65536),
    "requests": (GET + b"\r\n", (GET + b"\r\n") * 1000),
    "no HTTP": (b"\x00" * 100, b"\xff" * 65536),
}


async def test_idle_connections_do_not_matter(
    upstream: Registry, make_cache: Callable[..., Cache], client_context: ssl.SSLContext
) -> None:
    """A pull works beside 1,000 connections that send nothing, or half a request, with a low limit of open files."""
    upstream.push("a")
    cache = make_cache()
    cache.prefix = ("prlimit", "--nofile=256:10000")
    await cache.start()
    with contextlib.ExitStack() as stack:
        for number in range(CONNECTIONS):
            plain = stack.enter_context(socket.create_connection(("127.0.0.1", cache.port)))
            if number % 5 == 0:
                secure = stack.enter_context(client_context.wrap_socket(plain, server_hostname="localhost"))
                secure.sendall(GET + b"X: ")
        answers = await cache.pull("a")
        assert max(each.seconds for each in answers) < 2
        assert await cache.is_ready()
    assert cache.memory() < MEMORY_MAX


@pytest.mark.parametrize("part", ENDLESS)
async def test_endless_request_ends(upstream: Registry, cache: Cache, part: str) -> None:
    """A request without an end is refused, or costs no memory. Other clients are served meanwhile."""
    upstream.push("a")
    begin, more = ENDLESS[part]
    reader, writer = await asyncio.open_connection("localhost", cache.port, ssl=cache.context)

    async def read() -> None:
        while await reader.read(65536):
            pass

    async def send() -> None:
        writer.write(begin)
        for _ in range(2000):
            writer.write(more)
            await writer.drain()

    reading, sending = asyncio.create_task(read()), asyncio.create_task(send())
    await cache.pull("a")
    await asyncio.wait([reading, sending], timeout=5, return_when=asyncio.FIRST_COMPLETED)
    answer = await cache.ask("a/manifests/latest")
    assert (answer.status, answer.seconds < 1) == (200, True)
    assert cache.memory() < MEMORY_MAX
    writer.transport.abort()
    sending.cancel()
    await asyncio.gather(reading, sending, return_exceptions=True)
    assert cache.problems() == []


async def test_slow_requests_are_closed(cache: Cache) -> None:
    """A client that sends nothing, or a byte now and then, has 15 seconds for its handshake and its request."""
    secure = cache.context
    lives = await asyncio.gather(
        _life(cache, None, b""),
        _life(cache, secure, b""),
        _life(cache, None, CLIENT_HELLO),
        _life(cache, secure, GET + b"X: " + b"y" * 100),
    )
    assert all(FIRST_REQUEST_SECONDS - 1 < each < FIRST_REQUEST_SECONDS + 5 for each in lives), lives


async def _life(cache: Cache, context: ssl.SSLContext | None, request: bytes) -> float:
    """Send a request byte by byte, and return the seconds until the connection was closed."""
    reader, writer = await asyncio.open_connection("localhost", cache.port, ssl=context)
    began = time.monotonic()

    async def drip() -> None:
        for byte in request:
            writer.write(bytes([byte]))
            await asyncio.sleep(0.25)

    dripping = asyncio.create_task(drip())
    async with asyncio.timeout(FIRST_REQUEST_SECONDS * 3):
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
    dripping.cancel()
    writer.close()
    return time.monotonic() - began


STALLED = {"blob": 30_000_000, "manifest": 0, "small blob": 50_000}


async def test_silent_clients_cost_little_memory(upstream: Registry, cache: Cache) -> None:
    """Sixty clients ask for a manifest of 4 MB and read nothing."""
    digest = large(upstream)
    await cache.pull_digest("a", digest)
    before = cache.memory()
    with contextlib.ExitStack() as stack:
        for _ in range(60):
            await _ask_and_read_nothing(stack, cache, f"a/manifests/{digest}")
        await asyncio.gather(*(cache.pull_digest("a", digest) for _ in range(10)))
        assert cache.memory() - before < 100 * 1024 * 1024


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "size"), STALLED.items())
async def test_client_that_reads_nothing_is_cut(upstream: Registry, cache: Cache, kind: str, size: int) -> None:
    """A client that stops reading is cut after a minute, costs little memory, and stops no other client."""
    _, blobs = upstream.push("a", layers=(size,))
    digest = large(upstream) if kind == "manifest" else blobs[1]
    path = f"a/{'manifests' if kind == 'manifest' else 'blobs'}/{digest}"
    await cache.ask(path)
    before, sockets = cache.memory(), cache.open_files("socket:")
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            await _ask_and_read_nothing(stack, cache, path, 200)
        assert digest_of((await cache.ask(path)).body) == digest
        assert cache.memory() - before < 64 * 1024 * 1024
        assert cache.open_files("socket:") > sockets + 10

        async def cut() -> bool:
            return cache.open_files("socket:") <= sockets and cache.open_files(str(cache.root)) == 0

        await cache.until(cut, STALLED_SECONDS + 15)
    assert cache.problems() == []


async def _ask_and_read_nothing(stack: contextlib.ExitStack, cache: Cache, path: str, count: int = 1) -> None:
    """Send requests with a small buffer for the answers. Return when the first byte has arrived."""
    plain = stack.enter_context(socket.socket())
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    plain.connect(("127.0.0.1", cache.port))
    secure = stack.enter_context(cache.context.wrap_socket(plain, server_hostname="localhost"))
    secure.sendall(f"GET /v2/{path} HTTP/1.1\r\nHost: x\r\n\r\n".encode() * count)
    assert await asyncio.to_thread(secure.recv, 1)
