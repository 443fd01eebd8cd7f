"""A replica that is lost, or whose volume is, costs at most three seconds and no pull."""

from __future__ import annotations

import asyncio
import shutil
import signal
import time
from typing import TYPE_CHECKING

import pytest

from cache.replicas.rendezvous import ranked
from common.upstream import parse_literal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.cache.program import Cache
    from tests.cache.upstream import Registry

LOST_SECONDS = 3.0
LAYERS = (1_500_000, 200_000, 1_600_000, 300_000, 1_700_000, 400_000)  # each replica owns some of them
RATE = 3_000_000
FAULTS = [signal.SIGKILL, signal.SIGSTOP]


async def _seconds(pull: Awaitable[object]) -> float:
    began = time.monotonic()
    await pull
    return time.monotonic() - began


def _push_owned_by(cache: Cache, upstream: Registry) -> str:
    """Push an image whose largest layer the replica downloads for both; return the digest of the layer."""
    area, members = parse_literal(upstream.url).directory, cache.config["peers"]["members"]
    while True:
        _, blobs = upstream.push("a", layers=LAYERS)
        largest = max(blobs, key=lambda blob: len(upstream.blobs[blob]))
        if ranked(members, f"{area} {largest}")[0] == cache.name:
            return largest


async def _lose_in_the_middle(cache: Cache, upstream: Registry, layer: str, fault: signal.Signals) -> None:
    """Send the signal while the replica downloads the layer."""
    size = len(upstream.blobs[layer])

    async def begun() -> bool:
        return upstream.sent_blobs.get(layer, 0) > size / 4

    await cache.until(begun)
    cache.send_signal(fault)
    assert upstream.sent_blobs[layer] < size


@pytest.mark.parametrize("middle", [False, True])
@pytest.mark.parametrize("fault", FAULTS)
async def test_lost_replica_costs_three_seconds(
    upstream: Registry, pair: tuple[Cache, Cache], fault: signal.Signals, *, middle: bool
) -> None:
    """A pull goes on if the other replica is killed or stopped, before the pull or in the middle of its downloads."""
    upstream.push("usual", layers=LAYERS)
    layer = _push_owned_by(pair[1], upstream)
    upstream.does.rate = RATE
    usual = await _seconds(pair[0].pull("usual"))
    if not middle:
        pair[1].send_signal(fault)
    pull = asyncio.create_task(_seconds(pair[0].pull("a")))
    if middle:
        await _lose_in_the_middle(pair[1], upstream, layer, fault)
    assert await pull < usual + LOST_SECONDS
    assert pair[0].sound_blobs() == 2 * (len(LAYERS) + 1)


@pytest.mark.parametrize("fault", FAULTS)
async def test_many_clients_survive_a_lost_replica(
    upstream: Registry, pair: tuple[Cache, Cache], fault: signal.Signals
) -> None:
    """Twenty clients lose the time once, not one after another."""
    layer = _push_owned_by(pair[1], upstream)
    upstream.does.rate = RATE
    pulls = [asyncio.create_task(_seconds(pair[0].pull("a"))) for _ in range(20)]
    await _lose_in_the_middle(pair[1], upstream, layer, fault)
    assert max(await asyncio.gather(*pulls)) < sum(LAYERS) / RATE + LOST_SECONDS + 2  # seconds to send the bytes
    assert pair[0].sound_blobs() == len(LAYERS) + 1


async def test_replica_that_returns_is_used(upstream: Registry, pair: tuple[Cache, Cache]) -> None:
    """A replica that was stopped for some seconds shares downloads again."""
    upstream.push("a", layers=LAYERS)
    pair[1].send_signal(signal.SIGSTOP)
    await pair[0].pull("a")
    pair[1].send_signal(signal.SIGCONT)

    async def shared() -> bool:
        _, blobs = upstream.push("b", layers=(1000,) * 8)
        await pair[0].pull("b")
        return any(pair[1].has(each) for each in blobs)

    await pair[0].until(shared, 20)


async def test_image_of_the_other_replica(upstream: Registry, pair: tuple[Cache, Cache]) -> None:
    """With the upstream away, an image is pulled from the replica that has it."""
    upstream.push("a", layers=(100_000, 200_000))
    for cache in pair:
        await cache.pull("a")
    upstream.does.status[""] = 503
    for cache in pair:
        await _lose_volume(cache)
        await cache.pull("a")
        await cache.pull("a")  # now from its own volume


async def test_head_of_a_blob_of_the_other_replica(upstream: Registry, pair: tuple[Cache, Cache]) -> None:
    """With the upstream away, HEAD of a blob has the status of GET, also if no replica has the blob."""
    _, blobs = upstream.push("a", layers=LAYERS)
    for cache in pair:
        await cache.pull("a")
    upstream.does.status[""] = 503
    await _lose_volume(pair[0])
    for blob in blobs:
        answer = await pair[0].ask(f"a/blobs/{blob}", "HEAD")
        assert (answer.status, answer.headers.get("Content-Length")) == (200, str(len(upstream.blobs[blob])))
    assert not any(pair[0].has(blob) for blob in blobs)
    for method in ("HEAD", "GET"):
        assert (await pair[0].ask(f"a/blobs/sha256:{'0' * 64}", method)).status == 503


async def test_third_replica_has_the_image(
    upstream: Registry, make_replicas: Callable[[int], Awaitable[list[Cache]]]
) -> None:
    """The upstream is away, a second replica is stopped, and the one that is asked has lost its volume."""
    upstream.push("a", layers=(100_000,) * 4)
    caches = await make_replicas(3)
    for cache in caches:
        await cache.pull("a")
    upstream.does.status[""] = 503
    await _lose_volume(caches[0])
    caches[1].send_signal(signal.SIGSTOP)
    assert await _seconds(caches[0].pull("a")) < LOST_SECONDS + 1


async def test_halves_of_an_image_on_two_volumes(upstream: Registry, pair: tuple[Cache, Cache]) -> None:
    """Each replica has half of the blobs, and no manifest is on both. Both serve the image in an outage."""
    digest, blobs = upstream.push("a", layers=(100_000,) * 6)
    for cache in pair:
        await cache.pull("a")
    for number, blob in enumerate(blobs):
        pair[number % 2].stored(blob).unlink()
    pair[0].stored(digest, "manifests").unlink()
    upstream.does.status[""] = 503
    for cache in pair:
        await cache.stop()
        await cache.start()
    for cache in pair:
        await cache.pull("a")
        assert cache.sound_blobs() == len(blobs)


async def test_old_image_on_one_of_two_volumes(upstream: Registry, pair: tuple[Cache, Cache]) -> None:
    """A replica that was away while a tag changed serves a whole image, with the upstream and without it."""
    old, _ = upstream.push("a", layers=(100_000,) * 4)
    for cache in pair:
        await cache.pull("a")
    await pair[1].stop()
    new, _ = upstream.push("a", layers=(100_000,) * 4)
    await pair[0].pull("a")
    await pair[1].start()
    upstream.does.status[""] = 503
    for cache in pair:
        await cache.pull("a")
    assert await _digest(pair[0]) == new
    assert await _digest(pair[1]) in (old, new)
    upstream.does.status.clear()

    async def follows() -> bool:
        return await _digest(pair[1]) == new

    await pair[1].until(follows, 35)
    await pair[1].pull("a")


async def test_outage_sets_no_tag_back(upstream: Registry, pair: tuple[Cache, Cache]) -> None:
    """A replica returns with an older tag during an outage. The other one keeps its newer tag."""
    tags = [f"t{number}" for number in range(8)]  # each replica owns some of them
    for tag in tags:
        upstream.push("a", tag)
        await pair[0].ask(f"a/manifests/{tag}")
    await pair[0].stop()
    new = {tag: upstream.push("a", tag)[0] for tag in tags}
    for tag in tags:
        await pair[1].pull("a", tag)
    upstream.does.status[""] = 503
    await pair[0].start()
    await pair[1].until(lambda: _asks(pair[1], pair[0]), 20)
    for tag in tags * 2:
        answer = await pair[1].ask(f"a/manifests/{tag}", "HEAD")
        assert answer.headers["Docker-Content-Digest"] == new[tag]


async def _asks(cache: Cache, other: Cache) -> bool:
    """Return True once a replica asks the other one again, for tags that neither of them has."""
    refused = 0.0
    for number in range(8):
        await cache.ask(f"none/manifests/t{number}")
        refused = await other.metric("registrymirror_cache_requests_total", result="refused")
    return refused > 0


async def _digest(cache: Cache) -> str:
    return (await cache.ask("a/manifests/latest", "HEAD")).headers["Docker-Content-Digest"]


async def _lose_volume(cache: Cache) -> None:
    await cache.stop(signal.SIGKILL)
    shutil.rmtree(cache.root)
    await cache.start()
