"""Send a blob: a stored one, one that is arriving, or one that the volume has no room for."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from aiohttp import web

from cache.model.errors import UNAVAILABLE, ClientGoneError, RegistryError
from cache.model.reference import API_VERSION, DIGEST_HEADER
from cache.model.results import Result
from cache.server.body_writer import PIECE, WHOLE, sending
from cache.server.byte_range import ByteRange, UnsatisfiableError, requested_range
from cache.store import files
from cache.store.blob_files import NoSpaceError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cache.content.download import Download
    from cache.mirror import Mirror
    from cache.model.reference import Digest, Request
    from cache.server.body_writer import BodyWriter
    from cache.store.blob_files import StoredBlob

# The first range of containerd's parallel fetch. The others begin later.
_WHOLE: Final = "bytes=0-"


@dataclass(frozen=True, slots=True)
class BlobResponse:
    """The response to one request for a blob. `client` is the address of the client."""

    http: web.BaseRequest
    mirror: Mirror
    asked: Request
    digest: Digest
    client: str

    async def send(self) -> tuple[web.StreamResponse, Result]:
        """Send the blob, or its head. Raises RegistryError before the first byte, and ConnectionError later."""
        blobs = self.mirror.blobs
        is_whole = self.http.headers.get("Range", _WHOLE) == _WHOLE
        stored = await blobs.stored(self.digest, self.client, is_whole=is_whole)
        if stored is not None:
            with closing(stored):
                return await self._stored(stored), Result.HIT
        if self.http.method == "HEAD":
            size = await blobs.size(self.asked, self.digest)
            length = {} if size is None else {"Content-Length": str(size)}
            return web.Response(headers={**self._headers(), **length}), Result.MISS
        try:
            async with blobs.reading(self.asked, self.digest) as (download, blob, joined):
                response = await (self._stored(blob) if download.verified else self._growing(download, blob))
        except NoSpaceError:
            return await self._passed(), Result.UNSTORED
        return response, Result.JOINED if joined else download.result

    async def _stored(self, blob: StoredBlob) -> web.StreamResponse:
        status, headers, part = self._part(blob.size)
        if self.http.method == "HEAD" or part is None:
            return web.Response(status=status, headers=headers)
        if part.length == blob.size:
            self.mirror.blobs.suspicions.served(self.digest, self.client, time.monotonic())
        if part.length <= WHOLE:
            return await self._small(blob, part, status, headers)
        async with self._sending(status, headers) as writer:
            async for piece in _pieces(blob, part):
                await writer.write(piece)
        return writer.response

    async def _small(
        self, blob: StoredBlob, part: ByteRange, status: HTTPStatus, headers: dict[str, str]
    ) -> web.StreamResponse:
        try:
            content = b"".join([piece async for piece in _pieces(blob, part)])
        except ConnectionError as error:
            raise RegistryError(UNAVAILABLE, str(error)) from error
        self.mirror.served(self.asked, len(content))
        return web.Response(status=status, body=content, headers=headers)

    async def _growing(self, download: Download, blob: StoredBlob) -> web.StreamResponse:
        """Send a blob while it arrives. A failure cuts the connection, so that no wrong body is complete."""
        status, headers, position, stop = HTTPStatus.OK, self._headers(), 0, None
        if download.size is not None:
            status, headers, part = self._part(download.size)
            if part is None:
                return web.Response(status=status, headers=headers)
            position, stop = part.start, part.stop
        async with self._sending(status, headers) as writer:
            while (limit := await download.readable(position, stop)) > position:
                async for piece in _pieces(blob, ByteRange(position, limit)):
                    await writer.write(piece)
                position = limit
            if not download.verified:
                raise ConnectionError(str(download.error))
        return writer.response

    async def _passed(self) -> web.StreamResponse:
        """Send a blob that is not stored."""
        async with AsyncExitStack() as stack:
            writer: BodyWriter | None = None

            async def send(piece: bytes) -> None:
                nonlocal writer
                if writer is None:
                    length = {} if passed.size is None else {"Content-Length": str(passed.size)}
                    head = {**self._headers(), **length}
                    writer = await stack.enter_async_context(self._sending(HTTPStatus.OK, head))
                await writer.write(piece)

            passed = self.mirror.blobs.passed(self.asked, self.digest, send)
            try:
                await passed.fetch()
            except (ClientGoneError, RegistryError) as error:
                if writer is None:
                    raise
                raise ConnectionError(str(error)) from error
            return writer.response if writer else web.Response(headers=self._headers())  # an empty blob has no piece

    def _headers(self) -> dict[str, str]:
        return {
            **API_VERSION,
            DIGEST_HEADER: str(self.digest),
            "Content-Type": "application/octet-stream",
            "Accept-Ranges": "bytes",
        }

    def _part(self, size: int) -> tuple[HTTPStatus, dict[str, str], ByteRange | None]:
        """Return status, headers and the part to send; None if the requested range lies outside."""
        headers = self._headers()
        try:
            part = requested_range(self.http.headers.get("Range"), size)
        except UnsatisfiableError:
            status = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
            return status, {**headers, "Content-Range": f"bytes */{size}"}, None
        if part is None:
            return HTTPStatus.OK, {**headers, "Content-Length": str(size)}, ByteRange(0, size)
        headers |= {"Content-Length": str(part.length), "Content-Range": part.content_range(size)}
        return HTTPStatus.PARTIAL_CONTENT, headers, part

    @asynccontextmanager
    async def _sending(self, status: HTTPStatus, headers: dict[str, str]) -> AsyncIterator[BodyWriter]:
        """Send the head, then the body, and count it."""
        async with sending(self.http, headers, status) as writer:
            try:
                yield writer
            finally:
                self.mirror.served(self.asked, writer.size)


async def _pieces(blob: StoredBlob, part: ByteRange) -> AsyncIterator[bytes | bytearray]:
    """Yield a part of a stored blob. Raises ConnectionError if the file is shorter."""
    position = part.start
    while position < part.stop:
        piece = await files.read(blob.fd, min(PIECE, part.stop - position), position)
        if not piece:
            raise ConnectionError("The stored blob is truncated.")
        yield piece
        position += len(piece)
