"""Fetch one blob once for all who ask for it, while they read the growing file."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager, closing, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import aiohttp

from cache.model.errors import BAD_GATEWAY, UNAVAILABLE, RegistryError, WrongContentError
from cache.model.results import Result
from cache.store.blob_files import NoSpaceError, StoredBlob, is_full
from cache.upstream.failures import failure_of
from common.cache_protocol import UpstreamReason

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from cache.model.reference import Digest, Reference
    from cache.store.blob_files import BlobWriter
    from cache.store.store import Store
    from cache.upstream.transfer import Source, Transfer

# Bytes at the end of each response that are sent only after the digest was verified. A client never gets a whole body
# that is wrong.
HOLD_BACK: Final = 512 * 1024
# Bytes up to which a piece is hashed and written at once; larger ones take a thread.
INLINE: Final = 32 * 1024
# Bytes up to which a download is finished although no client waits for it any more.
SMALL: Final = 256 * 1024 * 1024
# Attempts in a row that bring no byte. The pause before an attempt, in seconds, doubles with each of them.
ATTEMPTS: Final = 5
FIRST_PAUSE: Final = 0.2


@dataclass(slots=True)
class Download:
    """One blob on its way into the store.

    `sources(failed)` returns where to fetch next, given the names of those that failed, or None. `slots` bounds the
    transfers from upstreams. Transfers between replicas have no bound: two replicas could wait for each other's slots.
    """

    area: str
    reference: Reference
    digest: Digest
    store: Store
    sources: Callable[[set[str]], Source | None]
    received: Callable[[str, int], None]
    slots: asyncio.Semaphore
    size: int | None = None
    written: int = 0
    verified: bool = False
    error: RegistryError | NoSpaceError | None = None
    result: Result = Result.PEER
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
            raise RegistryError(UNAVAILABLE, "The blob was removed.")
        return stored

    def _leave(self) -> None:
        """End the download if no client waits for it and most of it is missing."""
        large = self.size is not None and self.size > SMALL and self.written * 2 < self.size
        if self._readers == 0 and large and not self.is_over and self._task is not None:
            self._task.cancel()

    def _notify(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def _run(self) -> None:
        try:
            await self._fetch()
        except (RegistryError, NoSpaceError) as error:
            self.error = error
        except OSError as error:
            message = f"The store cannot be written: {error.strerror}."
            self.error = NoSpaceError(message) if is_full(error) else RegistryError(UNAVAILABLE, message)
        except asyncio.CancelledError:
            self.error = RegistryError(UNAVAILABLE, "The download was stopped.")
            raise
        finally:
            if not self.is_over:
                self.error = RegistryError(BAD_GATEWAY, "The download failed. The log has the reason.")
            self._drop_writer()
            self._notify()

    async def _fetch(self) -> None:
        """Receive from one source after another. After a broken transfer go on at the offset reached."""
        failed: set[str] = set()
        idle, refusal = 0, None
        while (source := self.sources(failed)) is not None:
            before = self.written
            try:
                await self._receive(source)
            except WrongContentError:
                failed.add(source.name)
                self._restart(source)
            except RegistryError as error:
                refusal = error if source.is_upstream else refusal
                idle = 0 if self.written > before else idle + 1
                if self._gives_up(source, error, idle):
                    failed.add(source.name)
                else:
                    await asyncio.sleep(FIRST_PAUSE * 2**idle)
            else:
                return
        raise refusal or RegistryError(BAD_GATEWAY, "No source has the blob.")

    def _gives_up(self, source: Source, error: RegistryError, idle: int) -> bool:
        """Return True if another source has to be asked. Raise the error if no source can help."""
        if not source.is_upstream:
            return True
        if not error.is_outage:
            raise error
        return self._writer is None or idle >= ATTEMPTS

    async def _receive(self, source: Source) -> None:
        async with self.slots if source.is_upstream else nullcontext():
            await self._transfer(source)

    async def _transfer(self, source: Source) -> None:
        try:
            async with source.open(self.reference, self.written) as transfer:
                self.result = Result.MISS if source.is_upstream else self.result
                await self._begin(transfer)
                await self._copy(transfer, "upstream" if source.is_upstream else "peer")
                await self._finish()
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            raise failure_of(error, f"The {source.name}") from error

    async def _begin(self, transfer: Transfer) -> None:
        if self._writer is None:
            self._writer = await self.store.create_blob(self.area, self.digest, transfer.size)
            self.size = transfer.size
            self._notify()
        elif transfer.size is not None and self.size is not None and transfer.size != self.size:
            raise RegistryError(BAD_GATEWAY, "The size of the blob changed during the download.")

    async def _copy(self, transfer: Transfer, source: str) -> None:
        skipped = self.written - transfer.start
        while piece := await transfer.read():
            self.received(source, len(piece))
            kept = piece[skipped:] if skipped else piece
            skipped -= len(piece) - len(kept)
            if kept:
                await self._append(kept)
        if self.size is not None and self.written < self.size:
            reason = UpstreamReason.CONNECTION_BROKEN
            raise RegistryError(BAD_GATEWAY, "The body ended too early.", reason=reason)

    async def _append(self, piece: bytes) -> None:
        assert self._writer is not None  # noqa: S101 (_begin has made it)
        if self.size is not None and self.written + len(piece) > self.size:
            raise WrongContentError
        if len(piece) <= INLINE:
            self._writer.append(piece, self.written)
        else:
            await asyncio.to_thread(self._writer.append, piece, self.written)
        self.written += len(piece)
        self._notify()

    async def _finish(self) -> None:
        assert self._writer is not None  # noqa: S101 (_begin has made it)
        if self._writer.hasher.hexdigest() != self.digest.hex:
            raise WrongContentError
        await self.store.commit_blob(self._writer, self.digest, self.written)
        self.size, self.verified = self.written, True

    def _restart(self, source: Source) -> None:
        """Begin again from another source, if no client was sent a byte of the wrong content."""
        if source.is_upstream or self._sends_early:
            raise RegistryError(BAD_GATEWAY, "The content does not have its digest.")
        self._drop_writer()
        self.size, self.written = None, 0

    def _drop_writer(self) -> None:
        if self._writer is not None:
            self._writer.discard()
            self._writer.close()
            self._writer = None  # its descriptor may soon be another file's


@dataclass(slots=True)
class Downloads:
    """All downloads in progress, one per digest and upstream."""

    parallel: int = 32
    slots: asyncio.Semaphore = field(init=False)
    _running: dict[tuple[str, Digest], Download] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.slots = asyncio.Semaphore(self.parallel)

    def __len__(self) -> int:
        return len(self._running)

    def get(self, area: str, digest: Digest) -> Download | None:
        """Return the download of a blob; None if there is none."""
        return self._running.get((area, digest))

    def begin(self, download: Download) -> Download:
        """Start a download."""
        key = (download.area, download.digest)
        self._running[key] = download
        download.start(lambda: self._running.pop(key, None))
        return download

    async def stop(self, area: str = "") -> None:
        """Cancel the downloads of one upstream, or all."""
        found = [each for each in self._running.values() if area in ("", each.area)]
        await asyncio.gather(*(each.stop() for each in found))
