"""Damaged files are found and replaced."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import aiohttp
import pytest
import structlog

from cache.store.scrub import scrub
from tests.cache.images import INDEX, MANIFEST

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cache.program import Cache
    from tests.cache.upstream import Registry


def _overwritten(content: Callable[[Path], bytes]) -> Callable[[Path], None]:
    """Return a damage that gives a file another content."""

    def damage(path: Path) -> None:
        path.write_bytes(content(path))

    return damage


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _become_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "x").write_bytes(b"x")


DAMAGES: dict[str, Callable[[Path], None]] = {
    "truncated": lambda path: os.truncate(path, path.stat().st_size // 2),
    "emptied": lambda path: os.truncate(path, 0),
    "zeros": _overwritten(lambda path: bytes(path.stat().st_size)),
    "longer": _overwritten(lambda path: path.read_bytes() + b"x"),
    "one bit": _flip,
    "other text": _overwritten(lambda _: b"\xff\r\n\x00"),
    "directory": _become_directory,
}
SMALL_FILES = {
    "manifests": "manifests/*/*/" + "[0-9a-f]" * 64,
    "types": "manifests/*/*/*.type",
    "tags": "tags/team/app/_tags/*",
    "pages": "pages/*/*",
}
UNTYPED = "application/vnd.example+json"
REFERRERS = {"schemaVersion": 2, "manifests": []}


@dataclass
class Content:
    """An image, and what else the upstream has of it."""

    cache: Cache
    digest: str
    blobs: list[str]
    untyped: str

    async def is_served(self) -> bool:
        """Pull everything; return True if all was right."""
        try:
            await self.cache.pull("team/app")
        except (AssertionError, aiohttp.ClientError):
            return False
        untyped = await self.cache.ask(f"team/app/manifests/{self.untyped}")
        referrers = await self.cache.ask(f"team/app/referrers/{self.digest}")
        types = [each.headers["Content-Type"].partition(";")[0] for each in (untyped, referrers)]
        return (untyped.status, referrers.status, types) == (200, 200, [UNTYPED, INDEX])

    async def attempts(self) -> int:
        """Pull until everything is served; return the number of attempts."""
        for number in range(1, len(self.blobs) + 2):
            if await self.is_served():
                return number
        raise AssertionError(self.cache.log())


@pytest.fixture
async def content(upstream: Registry, cache: Cache) -> Content:
    """Return stored content."""
    digest, blobs = upstream.push("team/app", layers=(1_000_000, 1000))
    upstream.referrers[digest] = REFERRERS
    content = Content(cache, digest, blobs, upstream.add_manifest(b'{"other": 1}', UNTYPED))
    assert await content.is_served()
    return content


@pytest.mark.parametrize("kind", SMALL_FILES.values(), ids=SMALL_FILES.keys())
async def test_damaged_small_files_are_replaced(upstream: Registry, content: Content, kind: str) -> None:
    """Damage is found before a byte is sent, with the upstream and without it."""
    cache = content.cache
    for damage in DAMAGES.values():
        for each in cache.files(kind):
            damage(each)
        assert await content.attempts() == 1
    assert len(cache.files(kind)) > 0
    for each in cache.files(kind):
        _flip(each)
    upstream.does.status[""] = 503
    answer = await cache.ask(f"team/app/referrers/{content.digest}")
    if kind == SMALL_FILES["pages"]:
        assert answer.status == 503
    else:
        assert (answer.status, answer.body) == (200, json.dumps(REFERRERS).encode())
    assert '"level":"error"' not in cache.log()


@pytest.mark.parametrize("damage", DAMAGES)
async def test_damaged_blobs_are_replaced(content: Content, damage: str) -> None:
    """A wrong size is seen before a byte is sent. For another damage a client has to refuse each blob once."""
    cache = content.cache
    for restarted in (False, True):
        if restarted:
            await cache.stop()
        for each in content.blobs:
            DAMAGES[damage](cache.stored(each))
        if restarted:
            await cache.start()  # it reads the sizes from the manifest
        attempts = await content.attempts()
        assert attempts == 1 or damage in ("zeros", "one bit")
        assert cache.sound_blobs() == len(content.blobs)
        assert '"level":"error"' not in cache.log()


async def test_parts_of_one_pull_raise_no_suspicion(upstream: Registry, cache: Cache) -> None:
    """A client may fetch parts of a blob at the same time. One that begins again may have refused it."""
    _, blobs = upstream.push("a", layers=(1_000_000,))
    await cache.pull("a")
    await cache.stop()
    await cache.start()  # it forgets what it has sent
    path = f"a/blobs/{blobs[1]}"
    _flip(cache.stored(blobs[1]))
    fetched = []
    for start in (0, 500_000, 0):
        await cache.ask(path, headers={"Range": f"bytes={start}-"})
        fetched.append(upstream.count("GET", blobs[1]))
    assert fetched == [1, 1, 2]


async def test_wrong_size_in_a_manifest_does_not_matter(upstream: Registry, cache: Cache) -> None:
    """A manifest may name another size than that of a blob. The stored blob stays, because its digest is right."""
    blobs = [upstream.add_blob(b"{}"), upstream.add_blob(os.urandom(1000))]
    right = upstream.manifests[upstream.add_image(blobs)][0]
    upstream.tags["a", "latest"] = upstream.add_manifest(right.replace(b"1000", b"1001"), MANIFEST)
    await cache.pull("a")
    await cache.stop()
    await cache.start()
    upstream.does.status[""] = 503
    for _ in range(3):
        await cache.pull("a")


async def test_scrub_removes_damaged_blobs(upstream: Registry, cache: Cache) -> None:
    """The scrub finds what no client asks for, and leaves the rest."""
    _, blobs = upstream.push("a", layers=(1_000_000, 1000, 2000))
    await cache.pull("a")
    for each in blobs[1:3]:
        _flip(cache.stored(each))
    scrubbing = asyncio.create_task(scrub(cache.root, structlog.get_logger(), interval=0.01, rest=0.0))

    async def removed() -> bool:
        return not cache.has(blobs[1]) and not cache.has(blobs[2])

    await cache.until(removed)
    scrubbing.cancel()
    assert cache.sound_blobs() == 2
    await cache.pull("a")
    assert cache.sound_blobs() == 4
