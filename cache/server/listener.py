"""Listen for connections, with limits against clients that hold them open."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable

# Seconds that an idle connection stays open, and seconds for the handshake and for the first request of a new one.
IDLE_SECONDS: Final = 120.0
FIRST_REQUEST_SECONDS: Final = 15.0
# Connections at a time; each takes some 100 kB with TLS.
CONNECTIONS_MAX: Final = 2000
# Seconds after SIGTERM for responses in progress.
DRAIN_SECONDS: Final = 25.0
_BACKLOG: Final = 1024
_ALL_ADDRESSES: Final = frozenset({"", "::"})


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


@contextlib.asynccontextmanager
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
    listening = _listening(*address)
    listener = await asyncio.get_running_loop().create_server(
        acceptor.accept,
        sock=listening,
        ssl=context,
        backlog=_BACKLOG,
        ssl_handshake_timeout=FIRST_REQUEST_SECONDS if context else None,
    )
    try:
        yield listening.getsockname()[1]
    finally:
        listener.close()
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
