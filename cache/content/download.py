"""Fetch one blob once for all who ask for it, while they read the growing file."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from typing_extensions import override

from cache.content.fetch import HOLD_BACK, Fetch
from cache.model.errors import BAD_GATEWAY, UNAVAILABLE, RegistryError, WrongContentError
from cache.store.blob_files import NoSpaceError, StoredBlob

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from cache.model.reference import Digest
    from cache.store.blob_files import BlobWriter
    from cache.store.store import Store

# Bytes up to which a download is finished although no client waits for it any more.
SMALL: Final = 256 * 1024 * 1024
# Transfers at a time from one upstream.
PARALLEL: Final = 32
# Seconds for which a blob that did not fit is passed on without another attempt to store it.
UNFIT_SECONDS: Final = 60.0


@dataclass(slots=True, kw_only=True)
class Download(Fetch):
    """One blob on its way into the store."""

    area: str
    store: Store
    verified: bool = False
    is_stored: bool = False
    error: RegistryError | NoSpaceError | None = None
    abandoned: bool = False
    _readers: int = 0
    _writer: BlobWriter | None = None
    _task: asyncio.Task[None] | None = None
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def start(self, ended: Callable[[], object]) -> None:
        """Begin as a task of its own; `ended` is called at the end, whatever it is."""
        self._task = asyncio.create_task(self._run())
        self._task.add_done_callback(lambda _: ended())

    async def stop(self) -> None:
        """Cancel and wait."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    @property
    def is_over(self) -> bool:
        """Return True if no more bytes will arrive."""
        return self.verified or self.error is not None

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[StoredBlob]:
        """Wait until the size is certain and give a reader its own descriptor.

        The last reader that leaves may end the download. Raises RegistryError or NoSpaceError if it failed.
        """
        self._readers += 1
        try:
            await self.settled()
            with closing(await self._opened()) as blob:
                yield blob
        finally:
            self._readers -= 1
            self._leave()

    async def settled(self) -> None:
        """Wait until the size is certain. Raises RegistryError or NoSpaceError if the download failed."""
        while not self.is_over and not self._sends_early:
            await self._changed.wait()
        if self.error is not None:
            raise self.error

    async def readable(self, position: int, stop: int | None) -> int:
        """Wait until a response that ends at `stop` may go on, and return up to where; `position` at the end."""
        while (limit := self._readable_until(stop)) <= position and not self.is_over:
            await self._changed.wait()
        return max(limit, position)

    @property
    def _sends_early(self) -> bool:
        """Return True if bytes are sent before the end. Until then another source may begin again."""
        return self._writer is not None and (self.written if self.size is None else self.size) > HOLD_BACK

    def _readable_until(self, stop: int | None) -> int:
        end = self.written if stop is None else stop
        return end if self.verified else min(self.written, end - HOLD_BACK)

    async def _opened(self) -> StoredBlob:
        stored = None
        if self._writer is not None:
            stored = StoredBlob(os.dup(self._writer.fd), self.size or 0)
        elif self.verified:
            stored = await self.store.open_blob(self.area, self.digest)
        if stored is None:
            raise NoSpaceError("The blob was removed.")
        return stored

    def _leave(self) -> None:
        """End the download if no client waits for it and most of it is missing."""
        large = self.size is not None and self.size > SMALL and self.written * 2 < self.size
        if self._readers == 0 and large and not self.is_over and self._task is not None:
            self.abandoned = True
            self._task.cancel()

    def _notify(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def _run(self) -> None:
        try:
            await self.fetch()
        except (RegistryError, NoSpaceError) as error:
            self.error = error
        except OSError as error:
            self.error = NoSpaceError(f"The store cannot be written: {error.strerror}.")
        except asyncio.CancelledError:
            self.error = RegistryError(UNAVAILABLE, "The download was stopped.")
            raise
        finally:
            if not self.is_over:
                self.error = RegistryError(BAD_GATEWAY, "The download failed. The log has the reason.")
            self._drop_writer()
            self._notify()

    @override
    async def _begin(self) -> None:
        self._writer = await self.store.create_blob(self.area, self.digest, self.size)
        self._notify()

    @override
    async def _append(self, piece: bytes) -> None:
        assert self._writer is not None  # noqa: S101 (_begin has made it)
        await self.store.append_blob(self._writer, piece, self.written)
        self.written += len(piece)
        self._notify()

    @override
    async def _finish(self) -> None:
        assert self._writer is not None  # noqa: S101 (_begin has made it)
        if self._writer.hasher.hexdigest() != self.digest.hex:
            raise WrongContentError
        with contextlib.suppress(OSError):  # the blob is right, and sent to those who wait for it
            await self.store.commit_blob(self._writer, self.digest, self.written)
            self.is_stored = True
        self.size, self.verified = self.written, True

    @override
    def _restart(self) -> bool:
        if self._sends_early:
            return False
        self._drop_writer()
        return True

    def _drop_writer(self) -> None:
        if self._writer is not None:
            self._writer.drop()
            self._writer = None  # its descriptor may soon be another file's


@dataclass(slots=True)
class Downloads:
    """All downloads in progress, one per digest and upstream."""

    _slots: dict[str, asyncio.Semaphore] = field(default_factory=dict)
    _running: dict[tuple[str, Digest], Download] = field(default_factory=dict)
    _unfit: dict[tuple[str, Digest], float] = field(default_factory=dict)  # times of the monotonic clock

    def __len__(self) -> int:
        return len(self._running)

    def slots(self, area: str) -> asyncio.Semaphore:
        """Return what bounds the transfers from one upstream. One that is slow delays no other."""
        return self._slots.setdefault(area, asyncio.Semaphore(PARALLEL))

    def get(self, area: str, digest: Digest) -> Download | None:
        """Return the download of a blob; None if there is none that goes on."""
        running = self._running.get((area, digest))
        return None if running is None or running.abandoned or running.error is not None else running

    def begin(self, download: Download) -> Download:
        """Start a download."""
        self._running[download.area, download.digest] = download
        download.start(lambda: self._end(download))
        return download

    def check(self, area: str, digest: Digest) -> None:
        """Raise NoSpaceError if the blob did not fit a moment ago."""
        if time.monotonic() < self._unfit.get((area, digest), 0.0):
            raise NoSpaceError("The blob did not fit a moment ago.")

    def _end(self, download: Download) -> None:
        key, now = (download.area, download.digest), time.monotonic()
        if self._running.get(key) is download:
            del self._running[key]
        self._unfit = {each: until for each, until in self._unfit.items() if until > now}
        if isinstance(download.error, NoSpaceError) or (download.verified and not download.is_stored):
            self._unfit[key] = now + UNFIT_SECONDS

    async def stop(self, area: str) -> None:
        """Cancel the downloads of one upstream."""
        found = [each for each in self._running.values() if each.area == area]
        await asyncio.gather(*(each.stop() for each in found))
