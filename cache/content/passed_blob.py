"""Pass a blob on to one client without storing it."""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from typing_extensions import override

from cache.content.fetch import HOLD_BACK, Fetch
from cache.model.errors import ClientGoneError, WrongContentError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


@dataclass(slots=True, kw_only=True)
class PassedBlob(Fetch):
    """A blob that the volume has no room for. `send` sends the next bytes; it raises ConnectionError."""

    send: Callable[[bytes], Awaitable[None]]
    slots: asyncio.Semaphore | None = None  # a slow client must not hold one
    _hasher: hashlib._Hash = field(init=False, repr=False)
    _held: deque[bytes] = field(default_factory=deque)
    _held_size: int = 0

    @override
    async def _begin(self) -> None:
        self._hasher = hashlib.new(self.digest.algorithm)

    @override
    async def _append(self, piece: bytes) -> None:
        await asyncio.to_thread(self._hasher.update, piece)
        self.written += len(piece)
        self._held.append(piece)
        self._held_size += len(piece)
        while self._held_size - len(self._held[0]) >= HOLD_BACK:
            await self._send_first()

    @override
    async def _finish(self) -> None:
        if self._hasher.hexdigest() != self.digest.hex:
            raise WrongContentError
        while self._held:
            await self._send_first()

    @override
    def _restart(self) -> bool:
        if self._held_size != self.written:
            return False
        self._held.clear()
        self._held_size = 0
        return True

    async def _send_first(self) -> None:
        piece = self._held.popleft()
        self._held_size -= len(piece)
        try:
            await self.send(piece)
        except ConnectionError as error:
            raise ClientGoneError(str(error)) from error  # not to be taken for an error of the source
