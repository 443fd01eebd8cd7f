"""Stored content is right, survives kills, and makes room for new content."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import aiohttp
import pytest

from tests.cache.images import digest_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.cache.program import Cache
    from tests.cache.upstream import Registry

KILLS = 25


async def test_kills_leave_sound_blobs(upstream: Registry, cache: Cache) -> None:
    """After kill -9 at any point under load each stored blob is right, and the next start serves."""
    dice = random.Random(7)  # noqa: S311 (no secret)
    for number in range(KILLS):
        upstream.push(f"a{number}", layers=(300_000, 900_000))
        pulls = [asyncio.create_task(cache.pull(f"a{number}")) for _ in range(3)]
        await asyncio.sleep(dice.uniform(0.0, 0.15))
        await cache.stop(signal.SIGKILL)
        for each in pulls:
            with contextlib.suppress(aiohttp.ClientError, AssertionError):
                await each
        cache.sound_blobs()
        await cache.start()
        assert list((cache.root / "tmp").iterdir()) == []
    await cache.pull(f"a{KILLS - 1}")
    assert cache.sound_blobs() >= 3


@pytest.mark.parametrize("damage", ["truncated", "emptied"])
async def test_wrong_size_is_seen_at_once(upstream: Registry, cache: Cache, damage: str) -> None:
    """A blob whose size is wrong is fetched again before a byte is sent."""
    _, blobs = upstream.push("a", layers=(1_000_000,))
    await cache.pull("a")
    os.truncate(cache.stored(blobs[1]), 500_000 if damage == "truncated" else 0)
    await cache.pull("a")
    assert cache.sound_blobs() == 2


async def test_damaged_blob_is_replaced(upstream: Registry, cache: Cache) -> None:
    """A client that refuses a blob asks again, and gets a sound one."""
    _, blobs = upstream.push("a", layers=(1_000_000,))
    await cache.pull("a")
    with cache.stored(blobs[1]).open("r+b") as file:
        file.seek(5)
        file.write(b"damage")
    await cache.ask(f"a/blobs/{blobs[1]}")
    assert digest_of((await cache.ask(f"a/blobs/{blobs[1]}")).body) == blobs[1]


async def test_unused_content_expires(upstream: Registry, make_cache: Callable[..., Cache]) -> None:
    """A blob that is unused for longer than ttl goes; one in use stays."""
    cache = await make_cache(ttl="1h").start()
    _, old = upstream.push("old", layers=(1000,))
    _, new = upstream.push("new", layers=(1000,))
    await cache.pull("old")
    await cache.pull("new")
    past = time.time() - 7200
    await cache.stop()
    os.utime(cache.stored(old[1]), (past, past))
    await cache.start()

    async def gone() -> bool:
        return not cache.has(old[1])

    await cache.until(gone)
    assert cache.has(new[1])
    assert await cache.metric("registrymirror_cache_evictions_total", cause="expired") > 0


async def test_pulled_manifest_renews_its_blobs(upstream: Registry, cache: Cache) -> None:
    """A node that has the layers asks for the manifest only, and keeps them in use."""
    _, blobs = upstream.push("a", layers=(1000,))
    await cache.pull("a")
    await cache.stop()
    past = time.time() - 7200
    os.utime(cache.stored(blobs[1]), (past, past))
    await cache.start()
    await cache.ask("a/manifests/latest")
    assert cache.stored(blobs[1]).stat().st_mtime > past + 3600


@pytest.fixture
def small_volume(tmp_path: Path) -> Iterator[Path]:
    """Mount a volume of 32 MB; this needs root."""
    path = tmp_path / "volume"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "none", str(path)], check=True)
    yield path
    subprocess.run(["umount", "--lazy", str(path)], check=True)


async def test_full_volume_evicts(upstream: Registry, make_cache: Callable[..., Cache], small_volume: Path) -> None:
    """More content than fits: every pull succeeds, and the least recently used blobs go."""
    cache = await make_cache(root=str(small_volume), minFree="10%").start()
    for number in range(12):
        upstream.push(f"a{number}", layers=(5_000_000,))
        await cache.pull(f"a{number}")
    assert cache.sound_blobs() > 0
    assert await cache.metric("registrymirror_cache_evictions_total", cause="space") > 0


async def test_blob_larger_than_the_volume_is_streamed(
    upstream: Registry, make_cache: Callable[..., Cache], small_volume: Path
) -> None:
    """A blob that cannot be stored is passed on, verified."""
    cache = await make_cache(root=str(small_volume), minFree="0").start()
    _, blobs = upstream.push("a", layers=(40_000_000,))
    await cache.pull("a")
    assert not cache.has(blobs[1])


async def test_clock_set_back_evicts_nothing(upstream: Registry, cache: Cache) -> None:
    """A last use in the future counts as now."""
    _, blobs = upstream.push("a", layers=(1000,))
    await cache.pull("a")
    future = time.time() + 10 * 365 * 86400
    os.utime(cache.stored(blobs[1]), (future, future))
    await cache.pull("a")
    assert cache.stored(blobs[1]).stat().st_mtime < future
