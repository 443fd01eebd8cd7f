"""Content that is unused for longer than ttl goes; everything else stays."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cache.program import Cache
    from tests.cache.upstream import Registry

HOUR = 3600.0
YEAR = 365 * 24 * HOUR


async def _restart(cache: Cache, ttl: str, age: float = 0.0) -> None:
    """Restart with another ttl, after all files were last used so many seconds ago. Wait for the first scan."""
    await cache.stop()
    if age:
        for each in (path for path in cache.root.rglob("*") if path.is_file()):
            _use(each, age)
    cache.config["ttl"] = ttl
    await cache.start()

    async def scanned() -> bool:
        return await cache.metric("registrymirror_cache_stored_bytes") > 0 or await _evictions(cache) > 0

    await cache.until(scanned)


def _use(path: Path, age: float) -> None:
    moment = time.time() - age
    os.utime(path, (moment, moment))


async def _evictions(cache: Cache) -> float:
    return await cache.metric("registrymirror_cache_evictions_total")


async def test_unused_content_expires(upstream: Registry, cache: Cache) -> None:
    """Blobs, manifests and tags go. Those that another image uses stay, also if another repository shares them."""
    shared = upstream.add_blob(os.urandom(1000))
    for name in ("old", "new"):
        own = upstream.add_blob(f"{name} only".encode())
        upstream.tags[name, "latest"] = upstream.add_image([own, shared])
        await cache.pull(name)
    old, new = upstream.tags["old", "latest"], upstream.tags["new", "latest"]
    await _restart(cache, "168h", 2 * HOUR)
    await cache.ask("new/manifests/latest")  # a node that has the layers
    await _restart(cache, "1h")
    assert (cache.has(old, "manifests"), cache.has(new, "manifests"), cache.has(shared)) == (False, True, True)
    assert cache.sound_blobs() == 2
    assert await cache.metric("registrymirror_cache_evictions_total", cause="expired") == 3  # with the tag
    upstream.does.status[""] = 503
    await cache.pull("new")


@pytest.mark.parametrize("ttl", ["0s", "3h"])
async def test_other_content_stays(upstream: Registry, cache: Cache, ttl: str) -> None:
    """A ttl of zero means never by age."""
    upstream.push("a")
    await cache.pull("a")
    await _restart(cache, ttl, 2 * HOUR)
    assert await _evictions(cache) == 0
    assert cache.sound_blobs() == 2


async def test_short_ttl_notes_each_use(upstream: Registry, cache: Cache) -> None:
    """A use counts although the last one is half an hour old. Otherwise content in use would expire."""
    upstream.push("a")
    await cache.pull("a")
    await _restart(cache, "1h", HOUR / 2)
    await cache.ask("a/manifests/latest", "HEAD")  # a node that has the image
    ages = [time.time() - each.stat().st_mtime for each in cache.files()]
    assert [age < HOUR / 4 for age in ages] == [True] * 4  # two blobs, the manifest and the tag


async def test_used_tag_survives_an_outage(upstream: Registry, cache: Cache) -> None:
    """An image that nodes pull during an outage stays, even if the outage is longer than ttl."""
    upstream.push("a")
    await cache.pull("a")
    upstream.does.status[""] = 503
    await _restart(cache, "168h", 2 * HOUR)
    await cache.ask("a/manifests/latest", "HEAD")  # a node that has the image
    await _restart(cache, "1h")
    assert await _evictions(cache) == 0
    await cache.pull("a")


async def test_layers_of_an_index_are_renewed(upstream: Registry, cache: Cache) -> None:
    """A node that has the image asks for the index only."""
    digest, blobs = upstream.push("a")
    upstream.tags["a", "latest"] = upstream.add_index([digest])
    await cache.pull("a")
    await _restart(cache, "168h", 2 * HOUR)
    await cache.ask("a/manifests/latest", "HEAD")
    await _restart(cache, "1h")
    assert await _evictions(cache) == 0
    assert all(cache.has(each) for each in blobs)


async def test_clock_set_back_evicts_nothing(upstream: Registry, cache: Cache) -> None:
    """A last use in the future becomes the time of the scan. Content expires from then on, also without a use."""
    digest, blobs = upstream.push("a")
    await cache.pull("a")
    await _restart(cache, "1h", -YEAR)
    assert await _evictions(cache) == 0
    files = [cache.stored(blob) for blob in blobs] + [cache.stored(digest, "manifests")]
    assert max(path.stat().st_mtime for path in files) <= time.time()
    await _restart(cache, "1h", 2 * HOUR)
    assert cache.sound_blobs() == 0
