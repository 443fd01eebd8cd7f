"""SIGTERM ends the cache soon, and lets responses in progress end."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import aiohttp
import pytest

from tests.cache.images import digest_of

if TYPE_CHECKING:
    from tests.cache.program import Cache
    from tests.cache.upstream import Registry


async def _begin(upstream: Registry, cache: Cache, size: int, rate: float) -> tuple[str, asyncio.Task[bytes]]:
    """Begin to download a blob; return its digest and what the client receives."""
    _, blobs = upstream.push("a", layers=(size,))
    upstream.does.rate = rate

    async def body() -> bytes:
        return (await cache.ask(f"a/blobs/{blobs[1]}")).body

    receiving = asyncio.create_task(body())

    async def begun() -> bool:
        return upstream.sent > 0

    await cache.until(begun)
    return blobs[1], receiving


async def test_stop_finishes_responses(upstream: Registry, cache: Cache) -> None:
    """A response in progress ends, and then the process."""
    digest, receiving = await _begin(upstream, cache, 2_000_000, 1_000_000)
    assert await cache.stop() == 0
    assert digest_of(await receiving) == digest


async def test_idle_connections_do_not_delay_a_stop(upstream: Registry, cache: Cache) -> None:
    """Clients keep connections open for minutes."""
    upstream.push("a")
    await asyncio.gather(*(cache.pull("a") for _ in range(10)), *(cache.status() for _ in range(10)))
    began = time.monotonic()
    assert await cache.stop() == 0
    assert time.monotonic() - began < 5.0


@pytest.mark.slow
async def test_long_response_is_cut_by_a_stop(upstream: Registry, cache: Cache) -> None:
    """A response that takes longer than 25 s is cut, and never looks whole."""
    _, receiving = await _begin(upstream, cache, 2_000_000, 20_000)
    began = time.monotonic()
    assert await cache.stop() == 0
    assert 24.0 < time.monotonic() - began < 29.0
    with pytest.raises(aiohttp.ClientError):
        await receiving
