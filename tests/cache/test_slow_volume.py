"""A client that leaves while the volume is slow causes no leak and no write into another file."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.cache import slow_volume

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cache.program import Cache
    from tests.cache.upstream import Registry

SIZE = 300_000_000  # bytes; a download of less is finished without clients


@pytest.fixture
async def slow_cache(make_cache: Callable[..., Cache], tmp_path: Path) -> Cache:
    """Return a cache with a slow volume."""
    (tmp_path / "python").mkdir()
    shutil.copy(slow_volume.__file__, tmp_path / "python" / "sitecustomize.py")
    cache = make_cache()
    cache.environment["PYTHONPATH"] = str(tmp_path / "python")
    return await cache.start()


@pytest.mark.parametrize("written", [False, True])
async def test_given_up_download_leaves_nothing(upstream: Registry, slow_cache: Cache, *, written: bool) -> None:
    """The client leaves while the file is created, or while a piece is written."""
    digest = upstream.add_blob(bytes(SIZE))
    upstream.does.piece = 256 * 1024
    upstream.does.rate = 10_000_000
    folder = slow_cache.root / "tmp"
    client = asyncio.create_task(slow_cache.ask(f"a/blobs/{digest}"))

    async def has_begun() -> bool:
        sizes = [each.stat().st_size for each in folder.iterdir()]
        return any(sizes) if written else bool(sizes)

    async def has_ended() -> bool:
        return (await slow_cache.status())["downloads"] == 0 and not list(folder.iterdir())

    await slow_cache.until(has_begun)
    client.cancel()
    await slow_cache.until(has_ended, 10)
    assert slow_cache.open_files(str(folder)) == 0
    assert await slow_cache.stop() == 0  # after the end of all threads
    assert slow_cache.problems() == []
