"""Accept TLS connections, at most CONNECTIONS_MAX at a time.

asyncio's own server reports a connection after its TLS handshake. A connection without a handshake costs as much
memory as any other, so the limit is applied before it.

A further connection replaces the one that has been idle longest. If all have a request in progress, it waits until one
ends, at most `server.REQUEST_SECONDS`. Others wait in the kernel's queue.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

# Connections. An API server keeps a few open; a burst of 200 writes opens 100 to each of two replicas. An idle
# connection costs 52 KB, one with an unfinished body up to 0.55 MB: 140 of the container's 256 MB at most.
CONNECTIONS_MAX: Final = 250
HANDSHAKE_SECONDS: Final = 10.0  # a handshake takes two round trips
# Seconds before an idle connection may be closed. Its answer is sent by then, or its handshake complete.
_IDLE_MIN: Final = 0.1
_RETRY_SECONDS: Final = 1.0  # after the system ran out of file descriptors; as in asyncio


class ServedConnection(asyncio.Protocol):
    """An asyncio protocol that sets `closed` when its connection ends.

    `idle_since` is a time of the event loop: the start or the last answer. It is infinite during a request.
    """

    closed: asyncio.Event
    idle_since: float


class ConnectionLimiter:
    """Serve the connections of a listening socket until `close` is called."""

    def __init__(
        self, listener: socket.socket, new_protocol: Callable[[], ServedConnection], context: ssl.SSLContext | None
    ) -> None:
        self._listener, self._new_protocol, self._context = listener, new_protocol, context
        self._free = asyncio.Semaphore(CONNECTIONS_MAX)
        self._tasks: set[asyncio.Task[None]] = set()  # the event loop keeps no reference to its tasks
        self._open: dict[socket.socket, ServedConnection] = {}
        listener.setblocking(False)
        self._accepting = asyncio.get_running_loop().create_task(self._accept())

    def close(self) -> None:
        """Stop accepting."""
        self._accepting.cancel()

    async def wait_closed(self) -> None:
        """Wait until the listening socket is closed."""
        with suppress(asyncio.CancelledError):
            await self._accepting

    async def _accept(self) -> None:
        with self._listener:
            while True:
                try:
                    connection, _ = await asyncio.get_running_loop().sock_accept(self._listener)
                except OSError as error:
                    # A connection that its client gave up is no reason to wait.
                    await asyncio.sleep(0 if isinstance(error, ConnectionError) else _RETRY_SECONDS)
                    continue
                try:
                    await self._acquire_slot()
                except asyncio.CancelledError:
                    connection.close()
                    raise
                protocol = self._open[connection] = self._new_protocol()
                task = asyncio.get_running_loop().create_task(self._serve(connection, protocol))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _acquire_slot(self) -> None:
        while True:
            if self._free.locked():
                self._close_longest_idle()
            with suppress(TimeoutError):
                async with asyncio.timeout(_IDLE_MIN):
                    await self._free.acquire()
                    return

    def _close_longest_idle(self) -> None:
        connection, protocol = min(self._open.items(), key=lambda item: item[1].idle_since)
        if protocol.idle_since <= asyncio.get_running_loop().time() - _IDLE_MIN:
            with suppress(OSError):  # its client has ended it already
                connection.shutdown(socket.SHUT_RDWR)

    async def _serve(self, connection: socket.socket, protocol: ServedConnection) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: protocol,
                connection,
                ssl=self._context,
                ssl_handshake_timeout=HANDSHAKE_SECONDS,
            )
            await protocol.closed.wait()
        except OSError:
            pass  # the handshake failed; errors of TLS are OSErrors too
        finally:
            del self._open[connection]
            self._free.release()
