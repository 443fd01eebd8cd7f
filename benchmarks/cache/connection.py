"""Receive HTTP/1.1 responses over TLS at little cost, and hash their bodies.

A client library would use more CPU than the servers that are measured.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from typing_extensions import override

if TYPE_CHECKING:
    import ssl

# Bytes of the buffer of a connection: as many as an event loop decrypts at once.
_BUFFER: Final = 256 * 1024
_END_OF_HEAD: Final = b"\r\n\r\n"
# The media types that containerd asks for. Distribution answers 404 to a request without them.
_ACCEPT: Final = (
    "application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json, "
    "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, */*"
)
_HEADERS: Final = f"Host: localhost\r\nAccept: {_ACCEPT}\r\n"


@dataclass(slots=True)
class Response:
    """A whole response. `first_byte` is the time of the first byte of its body on the monotonic clock."""

    status: int
    headers: dict[bytes, bytes]
    size: int
    first_byte: float = 0.0
    content: bytearray = field(default_factory=bytearray)
    sha256: str = ""

    @property
    def closes(self) -> bool:
        """Return True if the server closes the connection after the response."""
        return self.headers.get(b"connection", b"").lower() == b"close"


class Connection(asyncio.BufferedProtocol):
    """One connection, for one request at a time."""

    def __init__(self) -> None:
        self._buffer = memoryview(bytearray(_BUFFER))
        self._head = bytearray()
        self._missing = 0
        self._response: Response | None = None
        self._waiting: asyncio.Future[Response] | None = None
        self._transport: asyncio.Transport | None = None

    @classmethod
    async def open(cls, port: int, context: ssl.SSLContext, source: str) -> Connection:
        """Connect from a loopback address."""
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(
            cls, "127.0.0.1", port, ssl=context, server_hostname="localhost", local_addr=(source, 0)
        )
        return connection

    async def request(self, method: str, path: str, *, keep: bool = False) -> Response:
        """Send a request and return its response; keep the body only on demand. Raises ConnectionError."""
        if self._transport is None:
            raise ConnectionError("the connection is closed")
        self._method, self._keep, self._hasher = method, keep, hashlib.sha256()
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(f"{method} {path} HTTP/1.1\r\n{_HEADERS}\r\n".encode())
        return await self._waiting

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.close()

    @override
    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(ConnectionError(f"the server closed the connection: {exc}"))

    @override
    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    @override
    def buffer_updated(self, nbytes: int) -> None:
        piece = self._buffer[:nbytes]
        if self._response is None:
            piece = self._receive_head(piece)
        if self._response is not None:
            self._receive_body(self._response, piece)

    def _receive_head(self, piece: memoryview) -> memoryview:
        """Parse the head if all of it is there, and return what follows."""
        known = len(self._head)
        self._head += piece
        end = self._head.find(_END_OF_HEAD)
        if end < 0:
            return piece[:0]
        status, *lines = bytes(self._head[:end]).split(b"\r\n")
        pairs = (line.split(b":", 1) for line in lines)
        headers = {name.lower(): value.strip() for name, value in pairs}
        self._response = Response(int(status.split(b" ")[1]), headers, int(headers.get(b"content-length", 0)))
        self._missing = 0 if self._method == "HEAD" else self._response.size
        self._head.clear()
        return piece[end + len(_END_OF_HEAD) - known :]

    def _receive_body(self, response: Response, piece: memoryview) -> None:
        if piece and not response.first_byte:
            response.first_byte = time.monotonic()
        self._hasher.update(piece)
        if self._keep:
            response.content += piece
        self._missing -= len(piece)
        if self._missing <= 0 and self._waiting is not None:
            response.sha256 = self._hasher.hexdigest()
            self._response, waiting, self._waiting = None, self._waiting, None
            waiting.set_result(response)
