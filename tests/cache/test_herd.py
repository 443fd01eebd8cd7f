"""Many clients that pull at once cost the upstream one download."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.cache.images import digest_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.cache.program import Cache
    from tests.cache.upstream import Registry

LAYERS = (1_500_000, 2_000_000, 700_000, 10)
TRANSFERS_MAX = 32


@pytest.mark.parametrize(("replicas", "clients"), [(1, 1), (1, 20), (2, 20), (2, 50), (3, 20)])
async def test_herd_costs_one_download(
    upstream: Registry, make_replicas: Callable[[int], Awaitable[list[Cache]]], replicas: int, clients: int
) -> None:
    """All clients together cost one transfer of each blob and one GET of each manifest. Each client checks all digests.

    Each replica keeps a copy.
    """
    caches = await make_replicas(replicas)
    images = [upstream.push("team/app", f"t{number}", LAYERS) for number in range(2)]
    upstream.tags["team/app", "latest"] = upstream.add_index([digest for digest, _ in images])
    upstream.does.auth = "bearer"
    await asyncio.gather(*(caches[number % replicas].pull("team/app") for number in range(clients)))
    blobs = [blob for _, blobs in images for blob in blobs]
    assert upstream.sent_blobs == {digest: len(upstream.blobs[digest]) for digest in blobs}
    assert upstream.sent_manifests == dict.fromkeys(upstream.manifests, 1)
    assert upstream.offsets == [0] * len(blobs)
    assert upstream.count("HEAD", "/blobs/") == 0
    assert upstream.token_requests <= replicas
    assert all(cache.has(digest) for cache in caches for digest in blobs)


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_refused_repository_harms_no_other(upstream: Registry, pair: tuple[Cache, Cache], status: int) -> None:
    """A client asks under a wrong name first. Those with the right name get the content, fetched once."""
    digest, blobs = upstream.push("team/app", layers=(1_500_000,))
    upstream.does.refused = {"wrong": status}
    upstream.does.latency = 0.5
    for path in [f"manifests/{digest}", *(f"blobs/{blob}" for blob in blobs)]:
        wrong = asyncio.create_task(pair[0].ask(f"wrong/{path}"))

        async def begun(path: str = path) -> bool:
            return upstream.count(part=path) > 0

        await pair[0].until(begun)
        answers = await asyncio.gather(*(cache.ask(f"team/app/{path}") for cache in pair * 2))
        assert {each.status for each in answers} == {200}
        assert (await wrong).status == status
    assert upstream.sent_blobs == {blob: len(upstream.blobs[blob]) for blob in blobs}
    assert upstream.sent_manifests == {digest: 1}


async def test_small_images_cost_one_download(upstream: Registry, pair: tuple[Cache, Cache]) -> None:
    """Many images at once, asked for by many clients in different orders, are fetched once."""
    images = [f"team{number}/app" for number in range(40)]
    for name in images:
        upstream.push(name, layers=(2000, 3000))

    async def pull_all(cache: Cache, start: int) -> None:
        for name in images[start:] + images[:start]:
            await cache.pull(name)

    await asyncio.gather(*(pull_all(pair[number % 2], 5 * number) for number in range(8)))
    assert upstream.sent_blobs == {digest: len(content) for digest, content in upstream.blobs.items()}
    assert upstream.sent_manifests == dict.fromkeys(upstream.manifests, 1)


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


async def test_large_download_ends_with_its_last_client(upstream: Registry, cache: Cache) -> None:
    """A large blob of which most is missing is given up. The next client begins again."""
    digest = upstream.add_blob(bytes(300_000_000))
    upstream.does.rate = 10_000_000
    assert cache.session is not None
    for _ in range(2):
        async with cache.session.get(f"{cache.url}/v2/a/blobs/{digest}") as response:
            assert (response.status, len(await response.content.readexactly(100_000))) == (200, 100_000)

    async def has_ended() -> bool:
        return bool((await cache.status())["downloads"] == 0)

    await cache.until(has_ended)
    assert list((cache.root / "tmp").iterdir()) == []
    assert upstream.count("GET", "/blobs/") == 2


async def test_slow_upstream_delays_no_other(upstream: Registry, make_cache: Callable[..., Cache]) -> None:
    """While one upstream sends many blobs slowly, another one is used at once."""
    upstream.push("a")
    cache = make_cache()
    cache.config["upstreams"].append({"host": "other.test", "url": upstream.other_url, "credentials": None})
    await cache.start()
    slow = [upstream.add_blob(b"%d" % number * 1000) for number in range(50)]
    upstream.does.rate = 500
    asked = [asyncio.create_task(cache.ask(f"a/blobs/{digest}?ns=other.test")) for digest in slow]

    async def all_arrive() -> bool:
        return bool((await cache.status())["downloads"] == len(slow))

    await cache.until(all_arrive)
    upstream.does.rate = None
    assert max(each.seconds for each in await cache.pull("a")) < 2
    for each in asked:
        each.cancel()


async def test_transfers_of_an_upstream_are_bounded(upstream: Registry, cache: Cache) -> None:
    """Fifty cold blobs are fetched 32 at a time. The others wait for their turn, and all arrive."""
    blobs = [upstream.add_blob(b"%d" % number * 1000) for number in range(50)]
    upstream.does.rate = 40_000
    answers = await asyncio.gather(*(cache.ask(f"a/blobs/{digest}") for digest in blobs))
    assert [digest_of(each.body) for each in answers] == blobs
    assert upstream.most_transfers == TRANSFERS_MAX


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
