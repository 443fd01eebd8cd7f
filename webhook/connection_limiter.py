"""Accept TLS connections, at most CONNECTIONS_MAX at a time.

asyncio's own server reports a connection after its TLS handshake. A connection without a handshake costs as much
memory as any other, so the limit is applied before it.

Further connections wait in the kernel's queue until one ends. Connections that send nothing free their slots after
HANDSHAKE_SECONDS or `server.REQUEST_SECONDS`, idle ones after `server.IDLE_SECONDS`. A review that waits longer than
the API server's timeout is refused by the API server.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable

# Connections. Three API servers with 200 concurrent writes each (their default) open 300 to each of two replicas.
# An idle connection costs 52 KB, one with an unfinished body 0.2 to 0.4 MB: 160 of the container's 256 MB at most.
CONNECTIONS_MAX: Final = 400
HANDSHAKE_SECONDS: Final = 10.0  # a handshake takes two round trips
_RETRY_SECONDS: Final = 1.0  # after the system ran out of file descriptors; as in asyncio


class ServedConnection(asyncio.Protocol):
    """An asyncio protocol that sets `closed` when its connection ends."""

    closed: asyncio.Event


class ConnectionLimiter:
    """Serve the connections of a listening socket until `close` is called."""

    def __init__(
        self, listener: socket.socket, new_protocol: Callable[[], ServedConnection], context: ssl.SSLContext | None
    ) -> None:
        self._listener, self._new_protocol, self._context = listener, new_protocol, context
        self._free = asyncio.Semaphore(CONNECTIONS_MAX)
        self._connections: set[asyncio.Task[None]] = set()  # the event loop keeps no reference to its tasks
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
                await self._free.acquire()
                try:
                    connection, _ = await asyncio.get_running_loop().sock_accept(self._listener)
                except OSError as error:
                    self._free.release()
                    # A connection that its client gave up is no reason to wait.
                    await asyncio.sleep(0 if isinstance(error, ConnectionError) else _RETRY_SECONDS)
                    continue
                task = asyncio.get_running_loop().create_task(self._serve(connection))
                self._connections.add(task)
                task.add_done_callback(self._connections.discard)

    async def _serve(self, connection: socket.socket) -> None:
        protocol = self._new_protocol()
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
            self._free.release()
