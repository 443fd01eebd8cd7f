"""uvicorn, in one process, with deadlines for connections that would stay open for nothing."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from webhook.connection_limiter import ConnectionLimiter

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator

# Seconds that a connection may stay idle. The API server's client closes its own after 90; a server that closes
# first may do so just when a review is on its way.
IDLE_SECONDS: Final = 120
# Seconds from a request's first byte to its last. The API server waits no longer than this for a webhook, if its
# registration does not say so; what arrives later is for nobody.
REQUEST_SECONDS: Final = 10.0
# Bytes of a head. The API server's has some 300; the parser itself would gather any number of them.
HEAD_MAX: Final = 2**16
# Bytes that the parser gets at once: a record of TLS. Where among them one request ends and the next begins it does not
# tell, so that all count as the new one's head, which leaves it three quarters of what it may have.
PIECE: Final = 2**14
# Requests that may come before the first of them is answered. The API server sends one; each costs some 2 KB until its
# turn has come, and a client that sends on and reads nothing could have any number of them here.
WAITING_MAX: Final = 100
# Seconds for reviews in hand after SIGTERM: as long as a request may take. kubelet kills after 20.
GRACE_SECONDS: Final = 10
# Seconds after SIGTERM in which clients are told with each answer to come to us no more. One whose connection is closed
# just when it sends a review has that refused; who has sent none for so long will hardly send one in that moment.
FAREWELL_SECONDS: Final = 2.0
_LOOK: Final = 0.05  # seconds between two looks whether all have left
_FAREWELL: Final = (b"connection", b"close")


class Server(uvicorn.Server):
    """uvicorn's server. Signals are its owner's, who sets `should_exit`: uvicorn's own end in death by the signal."""

    def __init__(self, config: uvicorn.Config, listening: Callable[[], None]) -> None:
        super().__init__(config)
        self._listening = listening

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leaves signals alone."""
        yield

    async def startup(self, sockets: list[Any] | None = None) -> None:
        """Tells once it listens, by an entrance of ours instead of asyncio's."""
        await super().startup(sockets or [])
        listener = self.config.bind_socket()
        listener.listen(self.config.backlog)
        self.servers.append(cast("asyncio.Server", ConnectionLimiter(listener, self._protocol, self.config.ssl)))
        self._listening()

    def _protocol(self) -> Protocol:
        return Protocol(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)

    async def shutdown(self, sockets: list[Any] | None = None) -> None:
        """Takes leave first: uvicorn closes at once what is idle, reviews on their way to it or not."""
        self.server_state.default_headers = [*self.server_state.default_headers, _FAREWELL]
        deadline = asyncio.get_running_loop().time() + FAREWELL_SECONDS
        # uvicorn tells nobody when a connection has ended
        while self.server_state.connections and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(_LOOK)
        await super().shutdown(sockets)


class Gathering:
    """A transport that sends what is written in one turn of the loop as one: an answer's head and body.

    uvicorn writes them one after the other, which makes two TLS records, and 20 us more until the client has both.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._parts: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        """All that is not about writing."""
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Sends with the end of this turn."""
        if not self._parts:
            self._loop.call_soon(self._flush)
        self._parts.append(data)

    def close(self) -> None:
        """Closes after what was written."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._parts:
            self._transport.write(b"".join(self._parts))
            self._parts.clear()


class Protocol(HttpToolsProtocol):
    """HTTP/1.1 with what uvicorn lacks: it times idleness only after a first answer, and takes a head of any length.

    A clock runs while a request has begun and not ended. The usual one comes in one piece, and starts none; what comes
    behind one is timed for itself. Another runs while a client does not read what it is answered.
    """

    request_seconds = REQUEST_SECONDS
    waiting_max = WAITING_MAX
    _has_asked = False  # a whole request has come
    _heard = 0.0  # when the last bytes came
    _clock: asyncio.TimerHandle | None = None
    _unread_clock: asyncio.TimerHandle | None = None
    _head_bytes = 0
    _is_in_body = False  # uvicorn's own `more_body` stays true where the answer came before the body
    _is_whole = True

    def connection_made(self, transport: Any) -> None:
        """Gives a fresh connection as long as an idle one: clients open some in advance."""
        super().connection_made(cast("asyncio.Transport", Gathering(transport, self.loop)))
        self._heard = self.loop.time()
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def data_received(self, data: bytes) -> None:
        """Starts the clock with what is not (yet) a whole request."""
        self._heard = self.loop.time()
        for start in range(0, len(data), PIECE):
            piece = data[start : start + PIECE]
            self._is_whole = False
            super().data_received(piece)
            if self.transport.is_closing():
                return
            if not self._is_whole:
                self._wait_for_rest(len(piece))

    def on_message_begin(self) -> None:
        """Notes that a request has begun, which may be behind another one in the same piece."""
        super().on_message_begin()
        self._is_whole = False

    def on_headers_complete(self) -> None:
        """Notes that the head has ended; ends a connection on which too many wait."""
        super().on_headers_complete()
        self._head_bytes = 0
        self._is_in_body = True
        if len(self.pipeline) > self.waiting_max:
            self.transport.abort()

    def on_message_complete(self) -> None:
        """Notes that the request has ended, and stops its clock."""
        super().on_message_complete()
        self._is_in_body = False
        self._is_whole = self._has_asked = True
        self._stop_clock()

    def is_answering(self) -> bool:
        """Whether a whole request waits for its answer."""
        return self._clock is None and self.cycle is not None and not self.cycle.response_complete

    def wanted(self) -> tuple[bool, float]:
        """Least are those that never asked, then those that were not heard of for longest."""
        return self._has_asked, self._heard

    def end(self) -> None:
        """Ends the connection at once, and counts it no more."""
        self.connections.discard(self)
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops the clocks, which would keep the connection in memory."""
        super().connection_lost(exc)
        self._stop_clock()
        self._stop_unread_clock()
        self._unset_keepalive_if_required()

    def pause_writing(self) -> None:
        """Starts the other clock: answers wait for a client that does not read, and take up memory."""
        super().pause_writing()
        self._stop_unread_clock()
        self._unread_clock = self.loop.call_later(self.request_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Stops it."""
        super().resume_writing()
        self._stop_unread_clock()

    def _stop_unread_clock(self) -> None:
        if self._unread_clock is not None:
            self._unread_clock.cancel()
            self._unread_clock = None

    def _wait_for_rest(self, received: int) -> None:
        self._head_bytes = 0 if self._is_in_body else self._head_bytes + received
        if self._head_bytes > HEAD_MAX:
            self.transport.abort()
        elif self._clock is None:
            # Without the farewell of TLS, which a client that keeps on sending could draw out for 30 seconds.
            self._clock = self.loop.call_later(self.request_seconds, self.transport.abort)

    def _stop_clock(self) -> None:
        self._head_bytes = 0
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None


def config(app: Any, address: tuple[str, int], context: ssl.SSLContext) -> uvicorn.Config:
    """How the application is served at (host, port), over TLS by that context."""
    return uvicorn.Config(
        app,
        *address,
        http=Protocol,
        ssl_context_factory=lambda _config, _default: context,
        ws="none",
        lifespan="off",
        log_config=None,  # the program's logger has what libraries say
        access_log=False,  # one line a review is logged with what it was about; probes are silent
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
