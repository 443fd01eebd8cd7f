"""Remove content that is unused for too long, and the least recently used while too little space is free."""

from __future__ import annotations

import asyncio
import heapq
import os
import shutil
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cache.store import files
from cache.store.layout import KINDS, REMOVED, TEMPORARY, is_area

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from cache.config import Floor
    from common.logs import Logger

# Seconds between two checks of the free space.
CHECK_INTERVAL: Final = 15.0
# Seconds between two scans for expired content.
SCAN_INTERVAL: Final = 3600.0
# Fraction of inodes that stays free.
FREE_INODES: Final = 0.05
# An eviction frees this much more than the floor, so that the next download does not start another one.
HEADROOM: Final = 1.02

EXPIRED, LEAST_USED = "expired", "space"


@dataclass(frozen=True, slots=True, order=True)
class Entry:
    """A stored file, ordered by its last use in seconds since the epoch."""

    used: float
    size: int
    path: str = field(compare=False)


@dataclass(frozen=True, slots=True)
class Space:
    """Bytes and inodes of the volume."""

    total: int
    free: int
    inodes: int
    free_inodes: int

    @property
    def missing_inodes(self) -> int:
        """Return how many files less there must be."""
        return max(0, int(FREE_INODES * self.inodes) - self.free_inodes)

    def lacks(self, floor: Floor, wanted: int = 0) -> bool:
        """Return True if `wanted` bytes more would go below the floor."""
        return self.missing_inodes > 0 or self.free - wanted < floor.of(self.total)


def space_of(root: Path) -> Space:
    """Return the space of the volume of a directory. Raises OSError."""
    found = os.statvfs(root)
    return Space(
        total=found.f_blocks * found.f_frsize,
        free=found.f_bavail * found.f_frsize,
        inodes=found.f_files,
        free_inodes=found.f_favail,
    )


def entries(root: Path) -> Iterator[Entry]:
    """Yield all stored files. A last use in the future becomes now: the clock was set back."""
    with os.scandir(root) as areas:
        folders = [Path(area.path, kind) for area in areas if is_area(area.name) for kind in sorted(KINDS)]
    for folder in folders:
        yield from _files_below(folder)


def _files_below(folder: Path) -> Iterator[Entry]:
    for parent, _, names in os.walk(folder):
        for name in names:
            path = f"{parent}/{name}"
            try:
                found = os.stat(path)  # noqa: PTH116 (a million of them)
                if found.st_mtime > time.time():
                    files.mark_used(Path(path))
                    found = os.stat(path)  # noqa: PTH116
            except OSError:
                continue
            yield Entry(found.st_mtime, found.st_blocks * 512, path)


def least_used(found: Iterable[Entry], size: int, count: int) -> list[Entry]:
    """Return the least recently used files that have `size` bytes together, and are `count` at least.

    Only these are kept in memory: a volume may have a million files.
    """
    newest_first: list[tuple[float, Entry]] = []
    for each in found:
        if size <= 0 and len(newest_first) >= count and (not newest_first or each.used >= -newest_first[0][0]):
            continue
        heapq.heappush(newest_first, (-each.used, each))
        size -= each.size
        while len(newest_first) > count and size + newest_first[0][1].size <= 0:
            size += heapq.heappop(newest_first)[1].size
    return [each for _, each in newest_first]


@dataclass(slots=True)
class Evictor:
    """Keeps the store within ttl (seconds, 0 for no limit), free space and `max_size` (bytes, None for no limit).

    Volumes that are directories of a larger file system do not enforce their own size.
    """

    root: Path
    ttl: float
    floor: Floor
    max_size: int | None
    log: Logger
    evicted: Callable[[str, int], None]
    stored_bytes: int = 0
    unfinished_bytes: int = 0
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _due: float = 0.0
    _has_scanned: bool = False

    async def run(self) -> None:
        """Scan and evict until cancelled."""
        while True:
            now = time.monotonic()
            try:
                if now >= self._due or self.space().lacks(self.floor):
                    self._due = now + SCAN_INTERVAL
                    await self.evict()
            except OSError as error:
                self.log.warning("eviction failed", error=str(error))
            self._wake.clear()
            try:
                async with asyncio.timeout(CHECK_INTERVAL):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def check(self) -> None:
        """Look at the free space soon: a download has taken some."""
        self._wake.set()

    def is_crowded(self, space: Space) -> bool:
        """Return True if the files of others leave no room for content."""
        return self._has_scanned and space.free + self.stored_bytes + self.unfinished_bytes < self.floor.of(space.total)

    def rescan(self) -> None:
        """Scan soon: the configuration changed, and content of a removed upstream went."""
        self._due = 0.0
        self._wake.set()

    def space(self) -> Space:
        """Return the space of the volume, within `max_size`. Raises OSError."""
        space = space_of(self.root)
        if self.max_size is None:
            return space
        room = max(0, self.max_size - self.stored_bytes - self.unfinished_bytes)
        return replace(space, total=min(space.total, self.max_size), free=min(space.free, room))

    def note_stored(self, size: int) -> None:
        """Count bytes that were stored, or removed as damaged. The next scan corrects the sum."""
        self.stored_bytes += size

    def take(self, size: int) -> bool:
        """Count bytes of an unfinished file, or give them back. Return False if they exceed `max_size`."""
        used = self.stored_bytes + self.unfinished_bytes
        if size > 0 and self.max_size is not None and used + size > self.max_size:
            return False
        self.unfinished_bytes += size
        return True

    async def evict(self, wanted: int = 0) -> bool:
        """Delete what was put aside, and evict until `wanted` bytes more fit. Return True if they do."""
        async with self._lock:
            return await asyncio.to_thread(self._evict, wanted)

    def _evict(self, wanted: int) -> bool:
        for path in (self.root / TEMPORARY).glob(f"{REMOVED}*"):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        for each in self._scan():
            self._remove(each, EXPIRED)
        space = self.space()
        floor = self.floor.of(space.total)
        # If other files take the room, an empty store would not help.
        helps = wanted <= space.free + self.stored_bytes - floor
        if helps and space.lacks(self.floor, wanted):
            missing = int(HEADROOM * floor) + wanted - space.free
            for each in least_used(entries(self.root), missing, space.missing_inodes):
                self._remove(each, LEAST_USED)
        return helps and self.space().free >= wanted

    def _scan(self) -> list[Entry]:
        """Count the bytes of the store, and return what expired."""
        now, total, expired = time.time(), 0, list[Entry]()
        for each in entries(self.root):
            total += each.size
            if self.ttl > 0 and now - each.used > self.ttl:
                expired.append(each)
        self.stored_bytes, self._has_scanned = total, True
        return expired

    def _remove(self, entry: Entry, cause: str) -> bool:
        path = Path(entry.path)
        try:
            if path.stat().st_mtime != entry.used:
                return False  # it was used since the scan
            path.unlink()
        except OSError:
            return False
        self.stored_bytes -= entry.size
        self.evicted(cause, entry.size)
        return True
