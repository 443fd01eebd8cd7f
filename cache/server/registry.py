"""Answer HTTP requests of clients and replicas. The only module that knows the HTTP server."""

from __future__ import annotations

import asyncio
import contextlib
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from cache.content.manifests import DIGEST_HEADER, Request
from cache.model.errors import NOT_ALLOWED, NOT_FOUND, RegistryError
from cache.model.reference import Digest, Kind, Reference, parse_path
from cache.model.results import Result
from cache.replicas.peers import HOP_HEADER
from cache.server.byte_range import ByteRange, UnsatisfiableError, requested_range
from cache.store import files

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable

    from cache.content.download import Download
    from cache.metrics import Metrics
    from cache.mirror import Mirror, Mirrors
    from cache.store.store import StoredBlob
    from common.logs import Logger

# Bytes per read and write.
PIECE: Final = 256 * 1024
# Bytes up to which a whole stored blob is sent in one write with its head.
WHOLE: Final = 128 * 1024
# Seconds that an idle connection stays open, and seconds for the first request of a new one.
IDLE_SECONDS: Final = 120.0
FIRST_REQUEST_SECONDS: Final = 15.0
# Connections at a time; each takes some 100 kB with TLS.
CONNECTIONS_MAX: Final = 2000
# Seconds for which a client may read nothing of a response.
STALLED_SECONDS: Final = 60.0
# Seconds after SIGTERM for responses in progress.
DRAIN_SECONDS: Final = 25.0
_VERSION: Final = {"Docker-Distribution-Api-Version": "registry/2.0"}


@dataclass(slots=True)
class RegistryServer:
    """The handlers of the registry API."""

    mirrors: Callable[[], Mirrors]
    metrics: Metrics
    log: Logger

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        try:
            return await self._route(request)
        except RegistryError as error:
            return self._refusal(error)
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception:
            self.log.exception("request failed", path=request.path[:200])
            return self._refusal(RegistryError(HTTPStatus.INTERNAL_SERVER_ERROR, "Internal error of the cache."))

    async def _route(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method not in ("GET", "HEAD"):
            raise RegistryError(NOT_ALLOWED, "The cache is read-only.", "UNSUPPORTED")
        path = request.rel_url.raw_path
        if path in ("/v2/", "/v2"):
            return web.Response(body=b"{}", content_type="application/json", headers=_VERSION)
        reference = parse_path(path)
        mirror = self._mirror(request)
        asked = Request(
            reference,
            is_hop=HOP_HEADER in request.headers,
            only_if_cached="only-if-cached" in request.headers.get("Cache-Control", ""),
        )
        mirror.note_client(request.remote or "")
        try:
            response, result = await self._serve(request, mirror, asked)
        except RegistryError:
            self._count(mirror, reference, Result.REFUSED)
            raise
        self._count(mirror, reference, result)
        return response

    def _mirror(self, request: web.BaseRequest) -> Mirror:
        hosts = request.query.getall("ns", [])
        mirror = self.mirrors().of(hosts[0] if hosts else None) if len(hosts) < 2 else None  # noqa: PLR2004
        if mirror is None:
            raise RegistryError(NOT_FOUND, "The cache does not serve this registry.", "NAME_UNKNOWN")
        return mirror

    async def _serve(
        self, request: web.BaseRequest, mirror: Mirror, asked: Request
    ) -> tuple[web.StreamResponse, Result]:
        match asked.reference.kind:
            case Kind.MANIFEST:
                return await self._manifest(request, mirror, asked)
            case Kind.BLOB:
                return await self._blob(request, mirror, asked)
            case _:
                page = await mirror.pages.get(asked, request.query)
                headers = {**_VERSION, **page.headers}
                self._sent(mirror, len(page.content))
                return web.Response(body=page.content, headers=headers), page.result

    async def _manifest(
        self, request: web.BaseRequest, mirror: Mirror, asked: Request
    ) -> tuple[web.StreamResponse, Result]:
        is_head = request.method == "HEAD"
        answer = await (mirror.manifests.head(asked) if is_head else mirror.manifests.get(asked))
        head = answer.head
        headers = {**_VERSION, DIGEST_HEADER: str(head.digest), "Content-Type": head.media_type}
        if is_head or answer.manifest is None:
            return web.Response(headers={**headers, "Content-Length": str(head.size)}), answer.result
        self._sent(mirror, head.size)
        return web.Response(body=answer.manifest.content, headers=headers), answer.result

    async def _blob(
        self, request: web.BaseRequest, mirror: Mirror, asked: Request
    ) -> tuple[web.StreamResponse, Result]:
        digest = asked.reference.digest
        assert digest is not None  # noqa: S101 (parse_path gives every blob a digest)
        client = request.remote or ""
        blob = await mirror.blobs.stored(digest, client)
        if blob is not None:
            return await self._stored(request, mirror, digest, blob), Result.HIT
        if request.method == "HEAD":
            size = await mirror.blobs.size(asked, digest)
            length = {} if size is None else {"Content-Length": str(size)}
            return web.Response(headers={**_blob_headers(digest), **length}), Result.MISS
        download, result = await mirror.blobs.download(asked, digest)
        if download.no_space:
            return await self._unstored(request, mirror, asked, digest), Result.MISS
        if download.error is not None:
            raise download.error
        # It may have ended while this request waited for its turn.
        blob = await mirror.blobs.stored(digest, client) if download.verified else None
        if blob is not None:
            return await self._stored(request, mirror, digest, blob), result
        return await self._growing(request, mirror, download), result

    async def _stored(
        self, request: web.BaseRequest, mirror: Mirror, digest: Digest, blob: StoredBlob
    ) -> web.StreamResponse:
        try:
            headers, status, part = _range_of(request, digest, blob.size)
            if part is None:
                return web.Response(status=status, headers=headers)
            if request.method == "GET" and part.length == blob.size:
                mirror.blobs.suspicions.served(digest, request.remote or "", time.monotonic())
            if request.method == "HEAD" or part.length <= WHOLE:
                return await self._small(request, mirror, blob, part, status, headers)
            async with _sending(request, status, {**headers, "Content-Length": str(part.length)}) as response:
                position = part.start
                while position < part.stop:
                    piece = await files.read(blob.fd, min(PIECE, part.stop - position), position)
                    if not piece:
                        raise ConnectionError("the stored blob is truncated")
                    await _write(response, piece)
                    position += len(piece)
            self._sent(mirror, part.length)
            return response
        finally:
            blob.close()

    async def _small(
        self,
        request: web.BaseRequest,
        mirror: Mirror,
        blob: StoredBlob,
        part: ByteRange,
        status: int,
        headers: dict[str, str],
    ) -> web.StreamResponse:
        if request.method == "HEAD":
            return web.Response(status=status, headers={**headers, "Content-Length": str(part.length)})
        content = b""
        while len(content) < part.length:
            piece = await files.read(blob.fd, part.length - len(content), part.start + len(content))
            if not piece:
                raise RegistryError(HTTPStatus.SERVICE_UNAVAILABLE, "The stored blob is truncated.")
            content = bytes(piece) if not content else content + piece
        self._sent(mirror, part.length)
        return web.Response(status=status, body=content, headers=headers)

    async def _growing(self, request: web.BaseRequest, mirror: Mirror, download: Download) -> web.StreamResponse:
        """Send a blob while it arrives. A failure cuts the connection, so that no wrong body is complete."""
        with download.reading() as blob:
            size = download.size
            headers: dict[str, str] = _blob_headers(download.digest)
            status: int = HTTPStatus.OK
            part: ByteRange | None = None
            if size is not None:
                headers, status, part = _range_of(request, download.digest, size)
                if part is None:
                    return web.Response(status=status, headers=headers)
                headers["Content-Length"] = str(part.length)
            position, stop = (part.start, part.stop) if part else (0, None)
            if not await _first_bytes(download, position, stop):
                raise download.error or RegistryError(HTTPStatus.BAD_GATEWAY, "The download failed.")
            async with _sending(request, status, headers) as response:
                while stop is None or position < stop:
                    limit = download.readable_until(stop)
                    if position >= limit:
                        if download.verified:
                            break
                        if download.error is not None:
                            raise ConnectionError(str(download.error))
                        await download.progress()
                        continue
                    piece = await files.read(blob.fd, min(PIECE, limit - position), position)
                    await _write(response, piece)
                    position += len(piece)
                    self._sent(mirror, len(piece))
            return response

    async def _unstored(
        self, request: web.BaseRequest, mirror: Mirror, asked: Request, digest: Digest
    ) -> web.StreamResponse:
        """Send a blob that the volume has no room for, straight from the upstream."""
        async with mirror.blobs.unstored(asked, digest) as (size, pieces):
            headers = _blob_headers(digest)
            if size is not None:
                headers["Content-Length"] = str(size)
            async with _sending(request, HTTPStatus.OK, headers) as response:
                async for piece in pieces:
                    await _write(response, piece)
                    self._sent(mirror, len(piece))
            return response

    def _sent(self, mirror: Mirror, size: int) -> None:
        mirror.served_bytes.inc(size)

    def _count(self, mirror: Mirror, reference: Reference, result: Result) -> None:
        self.metrics.requests.labels(mirror.host, reference.kind.value, result.value).inc()
        if mirror.count_repositories:
            self.metrics.repository_requests.labels(mirror.host, reference.name).inc()

    @staticmethod
    def _refusal(error: RegistryError) -> web.Response:
        headers = {**_VERSION, **error.headers}
        if error.retry_after is not None:
            headers["Retry-After"] = str(max(1, round(error.retry_after)))
        return web.Response(status=error.status, body=error.body, content_type="application/json", headers=headers)


async def _first_bytes(download: Download, position: int, stop: int | None) -> bool:
    """Wait until the first byte of a response may be sent; return False if the download fails before."""
    while download.readable_until(stop) <= position and not download.is_over:
        await download.progress()
    return download.error is None or download.readable_until(stop) > position


def _blob_headers(digest: Digest) -> dict[str, str]:
    return {
        **_VERSION,
        DIGEST_HEADER: str(digest),
        "Content-Type": "application/octet-stream",
        "Accept-Ranges": "bytes",
    }


def _range_of(request: web.BaseRequest, digest: Digest, size: int) -> tuple[dict[str, str], int, ByteRange | None]:
    """Return headers, status and the part to send; None if the requested range lies outside."""
    headers = _blob_headers(digest)
    try:
        part = requested_range(request.headers.get("Range"), size)
    except UnsatisfiableError:
        status = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
        return {**headers, "Content-Range": f"bytes */{size}"}, status, None
    if part is None:
        return headers, HTTPStatus.OK, ByteRange(0, size)
    return {**headers, "Content-Range": part.content_range(size)}, HTTPStatus.PARTIAL_CONTENT, part


async def _write(response: web.StreamResponse, piece: bytes | bytearray) -> None:
    async with asyncio.timeout(STALLED_SECONDS):
        await response.write(piece)


@asynccontextmanager
async def _sending(request: web.BaseRequest, status: int, headers: dict[str, str]) -> AsyncIterator[web.StreamResponse]:
    """Send the head, then the body. An error closes the connection before the end of the body."""
    response = web.StreamResponse(status=status, headers=headers)
    await response.prepare(request)
    try:
        yield response
        await response.write_eof()
    except BaseException:
        if request.transport is not None:
            request.transport.abort()
        raise


@dataclass(slots=True)
class Acceptor:
    """Accepts connections up to a limit and closes those that send no request in time."""

    server: web.Server
    _waiting: dict[Any, asyncio.TimerHandle] = field(default_factory=dict)

    def accept(self) -> Any:
        """Return the protocol of a new connection."""
        protocol, loop = self.server(), asyncio.get_running_loop()
        if len(self.server.connections) >= CONNECTIONS_MAX:
            loop.call_soon(protocol.force_close)
        else:
            self._waiting[protocol] = loop.call_later(FIRST_REQUEST_SECONDS, self._close, protocol)
        return protocol

    def saw_request(self, protocol: Any) -> None:
        """Leave a connection to the idle timeout from its first request on."""
        timer = self._waiting.pop(protocol, None)
        if timer is not None:
            timer.cancel()

    def _close(self, protocol: Any) -> None:
        del self._waiting[protocol]
        protocol.force_close()


@asynccontextmanager
async def serving(
    handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
    address: tuple[str, int],
    context: ssl.SSLContext | None = None,
) -> AsyncIterator[int]:
    """Listen meanwhile and yield the port; afterwards accept no more, and let responses in progress end."""

    async def first(request: web.BaseRequest) -> web.StreamResponse:
        acceptor.saw_request(request.protocol)
        return await handler(request)

    server = web.Server(
        first, access_log=None, keepalive_timeout=IDLE_SECONDS, lingering_time=0.0, handler_cancellation=True
    )
    acceptor = Acceptor(server)
    host, port = address
    listener = await asyncio.get_running_loop().create_server(
        acceptor.accept, host or None, port, ssl=context, backlog=1024
    )
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()
        server.pre_shutdown()  # without it, shutdown waits for the next request of each idle connection
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                await server.shutdown(DRAIN_SECONDS)
