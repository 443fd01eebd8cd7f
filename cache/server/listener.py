"""Listen for connections, with limits against clients that hold them open."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from aiohttp import web
from typing_extensions import override

from cache.server.acceptor import Acceptor
from cache.server.body_writer import send_small

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

    from aiohttp.web_protocol import RequestHandler

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

# Seconds that an idle connection stays open, seconds for a TLS handshake, seconds for the first request after it, and
# seconds for the end of TLS.
IDLE_SECONDS: Final = 120.0
FIRST_REQUEST_SECONDS: Final = 15.0
GOODBYE_SECONDS: Final = 5.0
# Connections at a time; each takes some 100 kB with TLS.
CONNECTIONS_MAX: Final = 2000
# Seconds after SIGTERM for responses in progress.
DRAIN_SECONDS: Final = 25.0
_BACKLOG: Final = 1024
# The handlers log their own errors. What aiohttp would log are mistakes of clients, with the headers they sent.
_SILENT: Final = logging.getLogger("aiohttp.server of the cache")
_SILENT.disabled = True
_ALL_ADDRESSES: Final = frozenset({"", "::"})


class _Server(web.Server):
    """A server that ends connections that send no request in time."""

    def __init__(self, handler: Handler) -> None:
        super().__init__(
            self._handle,
            access_log=None,
            logger=_SILENT,
            keepalive_timeout=IDLE_SECONDS,
            lingering_time=0.0,
            handler_cancellation=True,
        )
        self._handler = handler
        self._waiting: dict[RequestHandler, asyncio.TimerHandle] = {}

    def has_room(self, count: int) -> bool:
        """Return True if so many new connections are within the limit."""
        return len(self._connections) + count <= CONNECTIONS_MAX

    @override
    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        self._waiting[handler] = self._loop.call_later(FIRST_REQUEST_SECONDS, transport.abort)

    @override
    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        self._stop_waiting(handler)
        super().connection_lost(handler, exc)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self._stop_waiting(request.protocol)
        response = await self._handler(request)
        if not response.prepared:
            await send_small(request, response)
        return response

    def _stop_waiting(self, handler: RequestHandler) -> None:
        """Leave a connection to the idle timeout from its first request on."""
        timer = self._waiting.pop(handler, None)
        if timer is not None:
            timer.cancel()


@contextlib.asynccontextmanager
async def serving(
    handler: Handler, address: tuple[str, int], context: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """Listen meanwhile and yield the port; afterwards accept no more, and let responses in progress end."""
    server, listening = _Server(handler), _listening(*address)
    acceptor = Acceptor(listening, server, server.has_room, context, FIRST_REQUEST_SECONDS, GOODBYE_SECONDS)
    acceptor.start()
    try:
        yield listening.getsockname()[1]
    finally:
        acceptor.stop()
        server.pre_shutdown()  # without it, shutdown waits for the next request of each idle connection
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                await server.shutdown(DRAIN_SECONDS)


def _listening(host: str, port: int) -> socket.socket:
    """Return a listening socket. That for all addresses takes IPv4 and IPv6, if the kernel has both."""
    if host in _ALL_ADDRESSES and socket.has_dualstack_ipv6():
        return socket.create_server(("::", port), family=socket.AF_INET6, backlog=_BACKLOG, dualstack_ipv6=True)
    if host in _ALL_ADDRESSES:
        return socket.create_server(("", port), backlog=_BACKLOG)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=_BACKLOG)


def client_address(request: web.BaseRequest) -> str:
    """Return the address of a client. An IPv4 address has its own form on a socket for both families, too."""
    return (request.remote or "").removeprefix("::ffff:")
