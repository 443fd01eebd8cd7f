"""Replicas share their content, and none of them can stop a pull."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.cache.upstream import digest_of

if TYPE_CHECKING:
    from tests.cache.program import Cache
    from tests.cache.upstream import Registry

MANY = (200_000,) * 8  # each replica owns some of them


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
async def test_lost_replica_costs_three_seconds(upstream: Registry, pair: tuple[Cache, Cache], number: int) -> None:
    """A replica that is killed or stopped before a pull does not fail it."""
    upstream.push("a", layers=MANY)
    assert pair[1].process is not None
    pair[1].process.send_signal(number)
    began = time.monotonic()
    await pair[0].pull("a")
    assert time.monotonic() - began < 4.0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
async def test_replica_lost_in_the_middle(upstream: Registry, pair: tuple[Cache, Cache], number: int) -> None:
    """A download from a replica that ends goes on from the upstream."""
    _, blobs = upstream.push("a", layers=(2_000_000, 2_100_000, 2_200_000, 2_300_000))
    upstream.does.rate = 4_000_000
    pull = asyncio.create_task(pair[0].pull("a"))

    async def half() -> bool:
        return upstream.sent > 4_000_000

    await pair[0].until(half)
    assert pair[1].process is not None
    pair[1].process.send_signal(number)
    answers = await pull
    assert [digest_of(each.body) for each in answers] == blobs


async def test_image_of_the_other_replica(upstream: Registry, pair: tuple[Cache, Cache]) -> None:
    """With the upstream away an image that only the other replica has is pulled from it."""
    upstream.push("a", layers=(100_000,))
    peers, pair[0].config["peers"] = pair[0].config["peers"], None
    pair[0].write()

    async def alone() -> bool:
        await pair[0].pull("a")
        return "configuration applied" in pair[0].log()

    await pair[0].until(alone)
    pair[0].config["peers"] = peers
    pair[0].write()
    upstream.does.status[""] = 503

    async def shared() -> bool:
        return pair[0].log().count("configuration applied") == 2

    await pair[0].until(shared)
    await pair[1].pull("a")


async def test_lying_replica_is_not_believed(upstream: Registry, pair: tuple[Cache, Cache]) -> None:
    """A replica that sends a damaged blob does not harm the other one."""
    upstream.push("a", layers=MANY)
    await pair[1].pull("a")
    for path in pair[1].root.glob("*/blobs/sha256/*/*"):
        content = bytearray(path.read_bytes())
        content[0] ^= 1
        path.write_bytes(content)
    await pair[0].stop()
    for path in pair[0].root.glob("*/blobs/sha256/*/*"):
        path.unlink()
    await pair[0].start()
    await pair[0].pull("a")
