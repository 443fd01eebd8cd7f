"""Write the body of a response, and cut the connection of a client that reads nothing."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from aiohttp import ClientConnectionError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiohttp import web

# Seconds for which a client may read nothing of a response, and seconds between two looks at it.
STALLED_SECONDS: Final = 60.0
_CHECK_SECONDS: Final = 5.0


class BodyWriter:
    """Writes a body. One timer for the whole response costs less than a timeout per piece."""

    __slots__ = ("_loop", "_request", "_since", "_timer", "response", "size")

    def __init__(self, request: web.BaseRequest, response: web.StreamResponse) -> None:
        self._request, self.response = request, response
        self._loop = asyncio.get_running_loop()
        self._since: float | None = None  # the beginning of the write in progress
        self.size = 0  # bytes that were written

    async def write(self, piece: bytes | bytearray) -> None:
        """Write the next bytes. Raises ConnectionError."""
        self._since = self._loop.time()
        try:
            await self.response.write(piece)
        except ClientConnectionError as error:
            raise ConnectionError(str(error)) from error
        self._since = None
        self.size += len(piece)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Cut the connection if a write takes too long."""
        self._check()
        try:
            yield
        finally:
            self._timer.cancel()

    def _check(self) -> None:
        if self._since is not None and self._loop.time() - self._since > STALLED_SECONDS:
            self.cut()
        self._timer = self._loop.call_later(_CHECK_SECONDS, self._check)

    def cut(self) -> None:
        """Close the connection before the end of the body."""
        if self._request.transport is not None:
            self._request.transport.abort()
