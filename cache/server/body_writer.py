"""Write the body of a response, and cut the connection of a client that reads nothing."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from aiohttp import ClientConnectionError, web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping

# Bytes per write of a large body, and bytes up to which a body is sent in one write with its head.
PIECE: Final = 256 * 1024
WHOLE: Final = 128 * 1024
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

    async def write(self, piece: bytes | bytearray | memoryview) -> None:
        """Write the next bytes. Raises ConnectionError."""
        await self._observed(self.response.write(piece))
        self.size += len(piece)

    async def end(self) -> None:
        """Write the end of the body. Raises ConnectionError."""
        await self._observed(self.response.write_eof())

    async def _observed(self, write: Awaitable[None]) -> None:
        self._since = self._loop.time()
        try:
            await write
        except ClientConnectionError as error:
            raise ConnectionError(str(error)) from error
        self._since = None

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


@asynccontextmanager
async def sending(
    request: web.BaseRequest, headers: Mapping[str, str], status: HTTPStatus = HTTPStatus.OK
) -> AsyncIterator[BodyWriter]:
    """Send the head, then the body. An error closes the connection before the end of the body."""
    response = web.StreamResponse(status=status, headers=headers)
    await response.prepare(request)
    writer = BodyWriter(request, response)
    try:
        with writer.watching():
            yield writer
            await writer.end()
    except BaseException:
        writer.cut()
        raise


async def send_content(request: web.BaseRequest, content: bytes, headers: Mapping[str, str]) -> web.StreamResponse:
    """Send content in pieces. The connection then buffers no copy of it. A small one is left to the server."""
    if len(content) <= WHOLE or request.method == "HEAD":
        return web.Response(body=content, headers=headers)
    async with sending(request, {**headers, "Content-Length": str(len(content))}) as writer:
        for start in range(0, len(content), PIECE):
            await writer.write(memoryview(content)[start : start + PIECE])
    return writer.response


async def send_small(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Send a response of at most `WHOLE` bytes. A client that does not read it in time is cut."""
    if request.transport is None:
        return
    timer = asyncio.get_running_loop().call_later(STALLED_SECONDS, request.transport.abort)
    try:
        await response.prepare(request)
        await response.write_eof()
    finally:
        timer.cancel()
