"""Serve the webhook with uvicorn in one process, and limit the time and the size of each request."""

from __future__ import annotations

import asyncio
import socket
from contextlib import contextmanager
from math import inf
from typing import TYPE_CHECKING, Any, Final, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from webhook.connection_limiter import ConnectionLimiter, ServedConnection

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator

# Seconds that a connection may stay idle after a request. The API server closes its own after 90. If this side closed
# first, a review could be on its way.
IDLE_SECONDS: Final = 120
CLOSE_SECONDS: Final = 1.0  # for the client to read the last answer and to close its side
# Seconds from the first byte of a request to the end of its answer; for the first request, from the handshake. The API
# server waits 10 seconds for a webhook by default.
REQUEST_SECONDS: Final = 10.0
# Bytes of a request's head. The API server sends some 300.
HEAD_MAX: Final = 2**16
# Seconds for reviews in progress after SIGTERM; as long as a request may take. kubelet kills after 20.
GRACE_SECONDS: Final = 10
# Seconds after SIGTERM in which answers carry `connection: close` and connections stay open. A connection closed at
# once could have a review on its way, which the API server would refuse.
CLOSE_NOTICE_SECONDS: Final = 2.0
_POLL_INTERVAL: Final = 0.05  # seconds
_CONNECTION_CLOSE: Final = (b"connection", b"close")


class Server(uvicorn.Server):
    """uvicorn's server without its signal handlers. The caller sets `should_exit`."""

    def __init__(self, config: uvicorn.Config, on_listening: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_listening = on_listening

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Install no signal handlers: uvicorn's re-raise the signal at the end."""
        yield

    async def startup(self, sockets: list[Any] | None = None) -> None:
        """Listen with a connection limit, then call `on_listening`."""
        await super().startup(sockets or [])
        listener = _listener(self.config)
        self.servers.append(cast("asyncio.Server", ConnectionLimiter(listener, self._new_protocol, self.config.ssl)))
        self._on_listening()

    async def on_tick(self, counter: int) -> bool:
        """End connections past their deadline; uvicorn calls this every 0.1 seconds."""
        now = asyncio.get_running_loop().time()
        for connection in list(self.server_state.connections):
            cast("Protocol", connection).abort_if_expired(now)
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[Any] | None = None) -> None:
        """Announce the end to clients with `connection: close`, then let uvicorn finish requests and close."""
        self.server_state.default_headers = [*self.server_state.default_headers, _CONNECTION_CLOSE]
        deadline = asyncio.get_running_loop().time() + CLOSE_NOTICE_SECONDS
        # uvicorn reports no end of a connection
        while self.server_state.connections and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(_POLL_INTERVAL)
        await super().shutdown(sockets)

    def _new_protocol(self) -> Protocol:
        return Protocol(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)


class CoalescingTransport:
    """A transport that sends the head and the body of an answer in one TLS record.

    uvicorn writes them separately. Two records cost 0.22 ms of CPU per review, one costs 0.17 (`make bench`).
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._parts: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        """Return all other methods of the transport."""
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send the data at the end of this turn of the event loop."""
        if not self._parts:
            self._loop.call_soon(self._flush)
        self._parts.append(data)

    def close(self) -> None:
        """Close after all data is sent."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._parts:
            self._transport.write(b"".join(self._parts))
            self._parts.clear()


class PipeliningError(Exception):
    """A request that arrived before the previous one was answered."""


class Protocol(HttpToolsProtocol, ServedConnection):
    """HTTP/1.1 with a deadline for each request, a limit for its head, and no pipelining.

    uvicorn limits only the idle time after an answer. Its parser accepts a head and a queue of any length.
    """

    request_seconds = REQUEST_SECONDS
    _is_idle = False
    _is_in_head = False
    _head_bytes = 0

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.closed = asyncio.Event()
        self.idle_since = self.loop.time()
        self._deadline = inf  # by the event loop's clock

    def abort_if_expired(self, now: float) -> None:
        """End the connection if its deadline has passed.

        A TLS close would wait up to 30 seconds for a client that keeps sending.
        """
        if now > self._deadline:
            self.transport.abort()

    def connection_made(self, transport: Any) -> None:
        """Start the deadline of the first request."""
        super().connection_made(cast("asyncio.Transport", CoalescingTransport(transport, self.loop)))
        self._deadline = self.loop.time() + self.request_seconds

    def data_received(self, data: bytes) -> None:
        """Start the deadline with a request's first byte, and limit its head."""
        self.idle_since = inf
        if self._is_idle:
            self._is_idle = False
            self._deadline = self.loop.time() + self.request_seconds
        super().data_received(data)
        if self._is_in_head:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_MAX:
                self.transport.abort()

    def on_message_begin(self) -> None:
        """Refuse a pipelined request. uvicorn would queue any number of them; API server and kubelet send none."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.transport.abort()
            raise PipeliningError
        super().on_message_begin()
        self._is_in_head, self._head_bytes = True, 0

    def on_headers_complete(self) -> None:
        """Note the end of the head."""
        super().on_headers_complete()
        self._is_in_head = False

    def on_response_complete(self) -> None:
        """Replace the deadline by the idle time and the time to close, or by the latter alone."""
        super().on_response_complete()
        self._is_idle, self.idle_since = True, self.loop.time()
        idle = 0 if self.transport.is_closing() else self.timeout_keep_alive
        self._deadline = self.loop.time() + idle + CLOSE_SECONDS

    def connection_lost(self, exc: Exception | None) -> None:
        """Release the connection's slot and its idle timer, which would keep it in memory."""
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        self.closed.set()


def _listener(config: uvicorn.Config) -> socket.socket:
    """Return a listening socket. Without a host it takes IPv4 and IPv6, if the kernel has both."""
    if not config.host and socket.has_dualstack_ipv6():
        address = ("", config.port)
        return socket.create_server(address, family=socket.AF_INET6, backlog=config.backlog, dualstack_ipv6=True)
    listener = config.bind_socket()
    listener.listen(config.backlog)
    return listener


def config(app: Any, address: tuple[str, int], context: ssl.SSLContext) -> uvicorn.Config:
    """Return the configuration that serves the application at (host, port) over TLS."""
    return uvicorn.Config(
        app,
        *address,
        http=Protocol,
        ssl_context_factory=lambda _config, _default: context,
        ws="none",
        lifespan="off",
        log_config=None,  # the program's logger forwards what libraries log
        access_log=False,  # the application logs one line per review and none for probes
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
