"""A full, small or read-only volume fails no pull."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import time
from typing import TYPE_CHECKING

import aiohttp
import pytest

from tests.cache.behaviour import Behaviour
from tests.cache.images import digest_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.cache.program import Cache
    from tests.cache.upstream import Registry

VOLUME = 32 * 1024 * 1024
INODES = 400
FULL_SECONDS = 30.0


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Path]:
    """Mount a small volume with few inodes; this needs root."""
    path = tmp_path / "volume"
    path.mkdir()
    options = f"size={VOLUME},nr_inodes={INODES}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(path)], check=True)
    yield path
    subprocess.run(["umount", "--lazy", str(path)], check=True)


@pytest.fixture
async def small(make_cache: Callable[..., Cache], volume: Path) -> Cache:
    """Return a running cache with the small volume, of which it keeps a tenth free."""
    return await make_cache(root=str(volume), minFree="10%").start()


async def _evictions(cache: Cache) -> float:
    return await cache.metric("registrymirror_cache_evictions_total", cause="space")


async def test_least_recently_used_goes_first(upstream: Registry, small: Cache) -> None:
    """More content than fits: every pull works, the oldest goes, and what is pulled now and then stays."""
    _, favourite = upstream.push("favourite", layers=(2_000_000,))
    await small.pull("favourite")
    for number in range(15):
        _, blobs = upstream.push(f"a{number}", layers=(5_000_000,))
        await small.pull(f"a{number}")
        assert small.has(blobs[1])
        for each in small.files():
            os.utime(each, ns=(each.stat().st_atime_ns, each.stat().st_mtime_ns - 3700 * 10**9))  # an hour passes
        await small.pull("favourite")
    assert small.sound_blobs() > 0
    assert await _evictions(small) > 0
    assert all(small.has(each) for each in favourite)
    assert await small.is_ready()


async def test_many_clients_on_a_full_volume(upstream: Registry, small: Cache) -> None:
    """Pulls of different images at once, together larger than the volume, work."""
    for number in range(16):
        upstream.push(f"a{number}", layers=(4_000_000, 3_000_000))
    await asyncio.gather(*(small.pull(f"a{number // 2}") for number in range(32)))
    assert small.sound_blobs() > 0

    async def has_room() -> bool:
        space = (await small.status())["space"]
        return bool(space["free"] >= space["minFree"])

    await small.until(has_room, FULL_SECONDS)


async def test_download_in_progress_is_not_evicted(upstream: Registry, small: Cache) -> None:
    """A blob that arrives slowly is stored, although others need the room meanwhile."""
    _, slow = upstream.push("slow", layers=(10_000_000,))
    upstream.does.rate = 3_000_000
    pull = asyncio.create_task(small.pull("slow"))

    async def begun() -> bool:
        return upstream.sent > 1_000_000

    await small.until(begun)
    upstream.does.rate = None  # for those who ask from now on
    for number in range(12):
        upstream.push(f"a{number}", layers=(5_000_000,))
        await small.pull(f"a{number}")
    await pull
    assert await _evictions(small) > 0
    assert small.has(slow[1])
    assert small.sound_blobs() > 0


async def test_space_is_reserved_before_first_byte(upstream: Registry, small: Cache, volume: Path) -> None:
    """A volume that others fill during a download does not stop it."""
    _, blobs = upstream.push("a", layers=(10_000_000,))
    upstream.does.rate = 5_000_000
    asked = asyncio.create_task(small.ask(f"a/blobs/{blobs[1]}"))

    async def begun() -> bool:
        return upstream.sent > 0

    await small.until(begun)
    _fill(volume)
    assert upstream.sent < 5_000_000
    assert digest_of((await asked).body) == blobs[1]
    assert await small.metric("registrymirror_cache_requests_total", result="miss") == 1


@pytest.mark.parametrize("chunked", [False, True])
async def test_blob_larger_than_the_volume_is_streamed(upstream: Registry, small: Cache, *, chunked: bool) -> None:
    """It is passed on, verified, to each client. What is stored stays, because its room would not suffice."""
    _, stored = upstream.push("stored", layers=(5_000_000,))
    await small.pull("stored")
    _, blobs = upstream.push("a", layers=(40_000_000,))
    upstream.does.chunked = chunked
    await small.pull("a")
    await asyncio.gather(*(small.pull("a") for _ in range(3)))
    assert not small.has(blobs[1])
    assert all(small.has(each) for each in stored)
    assert await _evictions(small) == 0
    assert await small.metric("registrymirror_cache_requests_total", result="unstored") == 4


@pytest.mark.parametrize("wrong_length", [-1, 1])
async def test_streamed_blob_is_verified(upstream: Registry, small: Cache, wrong_length: int) -> None:
    """A wrong blob that is not stored is never complete."""
    _, blobs = upstream.push("a", layers=(40_000_000,))
    upstream.does = Behaviour(wrong_length=wrong_length)
    with pytest.raises(aiohttp.ClientError):
        await small.ask(f"a/blobs/{blobs[1]}")
    assert '"level":"error"' not in small.log()


async def test_streamed_blob_continues(upstream: Registry, small: Cache) -> None:
    """A broken transfer of a blob that is not stored goes on at its offset."""
    _, blobs = upstream.push("a", layers=(40_000_000,))
    upstream.does = Behaviour(cut_at=20_000_000)
    assert digest_of((await small.ask(f"a/blobs/{blobs[1]}")).body) == blobs[1]


@pytest.mark.parametrize("chunked", [False, True])
async def test_volume_that_others_fill(upstream: Registry, small: Cache, volume: Path, *, chunked: bool) -> None:
    """With no byte free, and little to evict, stored images and new ones are served."""
    upstream.push("stored", layers=(1_000_000,))
    await small.pull("stored")
    _fill(volume)
    upstream.does.chunked = chunked
    for number in range(3):
        upstream.push(f"a{number}", layers=(3_000_000, 10))
        await small.pull(f"a{number}")
        await small.pull("stored")
    assert await small.is_ready()

    async def is_reported() -> bool:
        return bool((await small.status())["space"]["crowded"])

    await small.until(is_reported)
    (volume / "foreign").unlink()
    assert not (await small.status())["space"]["crowded"]
    assert '"level":"error"' not in small.log()


def _fill(volume: Path) -> None:
    with (volume / "foreign").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))


async def test_no_inodes_are_left(upstream: Registry, small: Cache) -> None:
    """Many small files: old ones go, and every pull works."""
    for number in range(60):
        upstream.push(f"a{number}", layers=tuple(range(10, 20)))
    for number in range(60):
        await small.pull(f"a{number}")
    assert await _evictions(small) > 0


async def test_directory_keeps_its_size(upstream: Registry, make_cache: Callable[..., Cache]) -> None:
    """A volume that is a directory of a larger disk does not grow beyond the size of its claim."""
    cache = await make_cache(maxSize="20M", minFree="10%").start()
    for number in range(12):
        _, blobs = upstream.push(f"a{number}", layers=(5_000_000,))
        await cache.pull(f"a{number}")
        assert cache.has(blobs[1])

    async def fits() -> bool:
        sizes = []
        for path in cache.files():
            with contextlib.suppress(FileNotFoundError):  # it is evicted meanwhile
                sizes.append(path.stat().st_size)
        return sum(sizes) <= 18_000_000

    await cache.until(fits, FULL_SECONDS)
    space = (await cache.status())["space"]
    assert space["total"] == 20_000_000
    assert await _evictions(cache) > 0


async def test_downloads_at_once_keep_the_size(upstream: Registry, make_cache: Callable[..., Cache]) -> None:
    """Blobs that do not fit beside those that are arriving are passed on."""
    cache = await make_cache(maxSize="20M", minFree="0").start()
    for number in range(6):
        upstream.push(f"a{number}", layers=(8_000_000,))
    upstream.does.rate = 20_000_000
    pulls = asyncio.gather(*(cache.pull(f"a{number}") for number in range(6)))
    largest = 0
    while not pulls.done():
        used = 0
        for path in cache.root.rglob("*"):
            with contextlib.suppress(FileNotFoundError):  # it gets its name meanwhile
                used += path.stat().st_blocks * 512 if path.is_file() else 0
        largest = max(largest, used)
        await asyncio.sleep(0.02)
    await pulls
    assert 8_000_000 < largest < 21_000_000  # with the manifests, and whole blocks
    assert await cache.metric("registrymirror_cache_requests_total", result="unstored") >= 1


async def test_expired_content_goes_on_a_full_volume(
    upstream: Registry, make_cache: Callable[..., Cache], volume: Path
) -> None:
    """Others fill the volume, so that no eviction reaches the free space. Content that expired goes anyway."""
    cache = await make_cache(root=str(volume), minFree="90%", ttl="1h").start()
    _, blobs = upstream.push("a", layers=(1_000_000,))
    await cache.pull("a")
    _fill(volume)
    _age(cache, 2 * 3600)

    async def expired() -> bool:
        return not any(cache.has(each) for each in blobs)

    await cache.until(expired, FULL_SECONDS)


async def test_future_use_is_evicted(upstream: Registry, small: Cache) -> None:
    """The clock was a year ahead, and is set back. What was used then goes before what is used now."""
    for number in range(5):
        upstream.push(f"a{number}", layers=(5_000_000,))
        await small.pull(f"a{number}")
    _age(small, -365 * 24 * 3600)
    later = []
    for number in range(5, 12):
        _, blobs = upstream.push(f"a{number}", layers=(5_000_000,))
        await small.pull(f"a{number}")
        assert small.has(blobs[1])
        later.append(blobs[1])
    assert all(small.has(each) for each in later[-4:])


def _age(cache: Cache, seconds: float) -> None:
    moment = time.time() - seconds
    for each in cache.files():
        os.utime(each, (moment, moment))


async def test_read_only_volume(upstream: Registry, small: Cache, volume: Path) -> None:
    """A volume that becomes read-only, as after an error of the disk, is served from, and passed by."""
    _, stored = upstream.push("stored", layers=(1_000_000,))
    await small.pull("stored")
    (small.root / "tmp" / "unfinished").touch()
    await asyncio.to_thread(subprocess.run, ["mount", "-o", "remount,ro", str(volume)], check=True)
    await small.stop()
    await small.start()
    upstream.push("a", layers=(1_000_000, 10))
    await small.pull("a")
    before = upstream.sent_blobs[stored[1]]
    await small.pull("stored")
    assert upstream.sent_blobs[stored[1]] == before
    assert '"level":"error"' not in small.log()
    assert (await small.status())["space"]["writeError"] == "Read-only file system"
    assert await small.metric("registrymirror_cache_store_errors_total") > 0
    assert small.log().count("volume cannot be written") == 1
    await asyncio.to_thread(subprocess.run, ["mount", "-o", "remount,rw", str(volume)], check=True)
    upstream.push("b", layers=(10,))
    await small.pull("b")
    assert (await small.status())["space"]["writeError"] == ""


@pytest.mark.parametrize("chunked", [False, True])
async def test_refused_write_of_a_blob_is_reported(
    upstream: Registry, make_cache: Callable[..., Cache], *, chunked: bool
) -> None:
    """The volume refuses the room of a blob, or its bytes if the size is unknown. A later write clears the error."""
    cache = make_cache()
    cache.prefix = ("prlimit", "--fsize=300000")
    await cache.start()
    _, blobs = upstream.push("a", layers=(400_000, 10))
    upstream.does.chunked = chunked
    for blob, error in ((blobs[1], "File too large"), (blobs[2], "")):
        assert digest_of((await cache.ask(f"a/blobs/{blob}")).body) == blob
        assert (await cache.status())["space"]["writeError"] == error
    assert await cache.metric("registrymirror_cache_store_errors_total") == 1


async def test_unreadable_volume_is_reported(upstream: Registry, cache: Cache) -> None:
    """The status names the error of a volume that does not even tell its space, and pulls go on."""
    assert (await cache.status())["space"]["writeError"] == ""
    await asyncio.to_thread(shutil.rmtree, cache.root)
    space = (await cache.status())["space"]
    assert (space["total"], space["free"], space["crowded"]) == (0, 0, False)
    assert space["writeError"] == "No such file or directory"
    assert await cache.metric("registrymirror_cache_volume_bytes") == 0
    upstream.push("a", layers=(1_000_000,))
    await cache.pull("a")
    assert await cache.is_ready()
