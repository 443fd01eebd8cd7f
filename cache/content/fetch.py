"""Receive a blob from one source after another, and go on at the offset reached after a broken transfer."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import aiohttp

from cache.model.errors import BAD_GATEWAY, RegistryError, WrongContentError
from cache.model.results import Result
from cache.upstream.failures import failure_of
from common.cache_protocol import UpstreamReason

if TYPE_CHECKING:
    from collections.abc import Callable

    from cache.model.reference import Digest, Reference
    from cache.upstream.transfer import Source, Transfer

# Bytes at the end of each response that are sent only after the digest was verified. A client never gets a whole body
# that is wrong.
HOLD_BACK: Final = 512 * 1024
# Attempts in a row that bring no byte. The pause before an attempt, in seconds, doubles with each of them.
ATTEMPTS: Final = 5
FIRST_PAUSE: Final = 0.2


@dataclass(slots=True, kw_only=True)
class Fetch(ABC):
    """A blob that is being received.

    `sources(failed)` returns where to fetch next, given the names of those that failed, or None. `slots` bounds the
    transfers from upstreams. Transfers between replicas have no bound: two replicas could wait for each other's slots.
    """

    reference: Reference
    digest: Digest
    sources: Callable[[set[str]], Source | None]
    received: Callable[[str, int], None]
    slots: asyncio.Semaphore | None
    size: int | None = None
    written: int = 0
    result: Result = Result.PEER
    _begun: bool = False

    @abstractmethod
    async def _begin(self) -> None:
        """Prepare for the first byte. `size` is None if it is unknown."""

    @abstractmethod
    async def _append(self, piece: bytes) -> None:
        """Take the next bytes and count them in `written`."""

    @abstractmethod
    async def _finish(self) -> None:
        """Verify the digest of the whole. Raises WrongContentError."""

    @abstractmethod
    def _restart(self) -> bool:
        """Forget what was received. Return False if a client was sent some of it."""

    async def fetch(self) -> None:
        """Receive the whole blob. Raises RegistryError."""
        failed: set[str] = set()
        idle, refusal = 0, None
        while (source := self.sources(failed)) is not None:
            before = self.written
            try:
                await self._receive(source)
            except WrongContentError:
                failed.add(source.name)
                if source.is_upstream or not self._restart():
                    raise RegistryError(BAD_GATEWAY, "The content does not have its digest.") from None
                self.size, self.written, self._begun = None, 0, False
            except RegistryError as error:
                if await self._is_whole():
                    return
                refusal = error if source.is_upstream else refusal
                idle = 0 if self.written > before else idle + 1
                if self._gives_up(source, error, idle):
                    failed.add(source.name)
                else:
                    await asyncio.sleep(FIRST_PAUSE * 2**idle)
            else:
                return
        raise refusal or RegistryError(BAD_GATEWAY, "No source has the blob.")

    async def _is_whole(self) -> bool:
        """Return True if a broken body of unknown size had only lost its end."""
        if self.size is not None or not self._begun:
            return False
        try:
            await self._finish()
        except WrongContentError:
            return False
        return True

    def _gives_up(self, source: Source, error: RegistryError, idle: int) -> bool:
        """Return True if another source has to be asked. Raise the error if no source can help."""
        if not source.is_upstream:
            return True
        if not error.is_outage:
            raise error
        return not self._begun or idle >= ATTEMPTS

    async def _receive(self, source: Source) -> None:
        async with self.slots if source.is_upstream and self.slots else nullcontext():
            try:
                async with source.open(self.reference, self.written) as transfer:
                    self.result = Result.MISS if source.is_upstream else self.result
                    await self._take(transfer, "upstream" if source.is_upstream else "peer")
            except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
                raise failure_of(error, f"The {source.name}") from error

    async def _take(self, transfer: Transfer, source: str) -> None:
        if not self._begun:
            self.size = transfer.size
            await self._begin()
            self._begun = True
        elif transfer.size is not None and self.size is not None and transfer.size != self.size:
            raise RegistryError(BAD_GATEWAY, "The size of the blob changed during the download.")
        await self._copy(transfer, source)
        if self.size is not None and self.written < self.size:
            reason = UpstreamReason.CONNECTION_BROKEN
            raise RegistryError(BAD_GATEWAY, "The body ended too early.", reason=reason)
        await self._finish()

    async def _copy(self, transfer: Transfer, source: str) -> None:
        skipped = self.written - transfer.start
        while piece := await transfer.read():
            self.received(source, len(piece))
            kept = piece[skipped:] if skipped else piece
            skipped -= len(piece) - len(kept)
            if self.size is not None and self.written + len(kept) > self.size:
                raise WrongContentError
            if kept:
                await self._append(kept)
