"""Ask a replica that is slow with some of its answers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from cache.model.errors import RegistryError
from cache.replicas.peers import PING_SECONDS, Peer
from cache.upstream.session import Session
from cache.upstream.trust import client_context
from tests.cache.upstream import listening

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LATE = 2.5  # seconds of an answer, more than PATIENCE and PING_SECONDS together


async def _answer(request: web.BaseRequest) -> web.StreamResponse:
    """Send a byte five times per second, or answer late. The answer to a ping is later than it may be."""
    if request.path == "/drip":
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(20):
            await response.write(b"x")
            await asyncio.sleep(0.2)
        return response
    await asyncio.sleep(3 * PING_SECONDS if request.path == "/v2/" else LATE)
    return web.Response(text="late")


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    """Yield a replica that answers no ping in time."""
    session = Session(client_context)
    await session.follow(None)
    async with listening(_answer, None) as port:
        yield Peer("other", f"http://127.0.0.1:{port}", session)
        await session.close()


async def _body(peer: Peer, path: str) -> bytes:
    async with peer.ask("GET", path, "docker.io") as response:
        content = b""
        while part := await peer.alive(response.content.readany()):
            content += part
        return content


async def test_replica_that_sends_bodies_is_not_left_out(peer: Peer) -> None:
    dripped, late = await asyncio.gather(_body(peer, "/drip"), _body(peer, "/late"))
    assert (dripped, late) == (b"x" * 20, b"late")
    assert peer.is_available


async def test_silent_replica_is_left_out(peer: Peer) -> None:
    with pytest.raises(RegistryError):
        await _body(peer, "/late")
    assert not peer.is_available
