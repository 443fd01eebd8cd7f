"""Many clients that pull at once cost the upstream one download."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cache.program import Cache
    from tests.cache.upstream import Registry

LAYERS = (3_000_000, 5_000_000, 700_000, 10)


@pytest.mark.parametrize("clients", [1, 20])
async def test_herd_of_one_replica(upstream: Registry, cache: Cache, clients: int) -> None:
    """All clients together cost one download of each blob and one GET of the manifest."""
    _, blobs = upstream.push("team/app", layers=LAYERS)
    await asyncio.gather(*(cache.pull("team/app") for _ in range(clients)))
    assert {digest: upstream.sent_blobs[digest] for digest in blobs} == {
        digest: len(upstream.blobs[digest]) for digest in blobs
    }
    assert upstream.count("GET", "/manifests/") == 1
    assert upstream.count("HEAD", "/blobs/") == 0


async def test_herd_of_two_replicas(upstream: Registry, pair: tuple[Cache, Cache]) -> None:
    """Two replicas together cost one download, and both keep a copy."""
    _, blobs = upstream.push("team/app", layers=LAYERS)
    await asyncio.gather(*(pair[number % 2].pull("team/app") for number in range(20)))
    assert upstream.sent == sum(len(upstream.blobs[each]) for each in blobs)
    assert upstream.count("GET", "/manifests/") == 1
    assert all(each.has(digest) for each in pair for digest in blobs)


async def test_download_continues_without_clients(upstream: Registry, cache: Cache) -> None:
    """A client that leaves does not throw the download away."""
    _, blobs = upstream.push("team/app", layers=(4_000_000,))
    upstream.does.rate = 4_000_000
    leaving = asyncio.create_task(cache.ask(f"team/app/blobs/{blobs[1]}"))

    async def begun() -> bool:
        return upstream.sent > 0

    await cache.until(begun)
    leaving.cancel()

    async def is_stored() -> bool:
        return cache.has(blobs[1])

    await cache.until(is_stored)
    assert upstream.count("GET", "/blobs/") == 1


async def test_range_of_a_growing_blob(upstream: Registry, cache: Cache) -> None:
    """Ranges of a cold blob are answered with 206 and cost one download."""
    _, blobs = upstream.push("team/app", layers=(3_000_000,))
    content = upstream.blobs[blobs[1]]
    upstream.does.rate = 6_000_000
    ranges = [(0, 999_999), (1_000_000, 1_999_999), (2_000_000, 2_999_999)]
    answers = await asyncio.gather(
        *(cache.ask(f"a/blobs/{blobs[1]}", headers={"Range": f"bytes={first}-{last}"}) for first, last in ranges)
    )
    assert [each.status for each in answers] == [206, 206, 206]
    assert b"".join(each.body for each in answers) == content
    assert upstream.sent == len(content)
    stored = await cache.ask(f"a/blobs/{blobs[1]}", headers={"Range": "bytes=-5"})
    assert (stored.status, stored.body) == (206, content[-5:])
    outside = await cache.ask(f"a/blobs/{blobs[1]}", headers={"Range": "bytes=3000000-"})
    assert outside.status == 416


async def test_head_of_a_cold_blob_is_a_head(upstream: Registry, cache: Cache) -> None:
    """A HEAD downloads nothing."""
    _, blobs = upstream.push("team/app", layers=(100_000,))
    answer = await cache.ask(f"team/app/blobs/{blobs[1]}", "HEAD")
    assert (answer.status, answer.headers["Content-Length"]) == (200, "100000")
    assert upstream.sent == 0
    assert upstream.count("GET", "/blobs/") == 0


async def test_client_at_download_end_gets_right_blob(upstream: Registry, cache: Cache) -> None:
    """A client that asks in the moment in which a download ends gets the right blob."""
    _, blobs = upstream.push("team/app", layers=tuple(range(1000, 1040)))

    async def ask(digest: str, delay: float) -> bool:
        await asyncio.sleep(delay)
        answer = await cache.ask(f"team/app/blobs/{digest}")
        return (answer.status, answer.body) == (200, upstream.blobs[digest])

    asked = [ask(digest, 0.002 * number) for digest in blobs for number in range(12)]
    assert all(await asyncio.gather(*asked))
