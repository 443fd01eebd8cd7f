"""Hash stored blobs in the background and remove damaged ones."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cache.model.reference import Digest
from cache.store.blob_files import is_sound
from cache.store.eviction import entries

if TYPE_CHECKING:
    from common.logs import Logger

# Seconds between two passes over the store.
PASS_INTERVAL: Final = 24 * 3600.0
# A scrub rests this many times as long as it hashes, so that it takes at most 2 % of the time.
REST: Final = 49.0


async def scrub(root: Path, log: Logger, interval: float = PASS_INTERVAL, rest: float = REST) -> None:
    """Hash all blobs, one after another, until cancelled."""
    while True:
        await asyncio.sleep(interval * random.uniform(0.5, 1.0))  # noqa: S311 (replicas do not scrub at the same time)
        found = entries(root)
        while entry := await asyncio.to_thread(next, found, None):
            started = time.monotonic()
            if await asyncio.to_thread(_remove_if_damaged, Path(entry.path)):
                log.warning("damaged blob removed", path=entry.path)
            await asyncio.sleep(rest * (time.monotonic() - started))


def _remove_if_damaged(path: Path) -> bool:
    digest = _digest_named_by(path)
    with contextlib.suppress(OSError):  # it was evicted meanwhile, or cannot be read
        if digest is not None and not is_sound(path, digest):
            path.unlink()
            return True
    return False


def _digest_named_by(path: Path) -> Digest | None:
    """Return the digest that the path of a blob names; None for another file."""
    parts = path.parts
    return Digest(parts[-3], parts[-1]) if len(parts) > 4 and parts[-4] == "blobs" else None  # noqa: PLR2004
