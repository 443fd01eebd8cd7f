"""Where connections come in: never more of them than fit into memory, and who is silent locks out nobody else.

asyncio's own servers tell of a connection when TLS has been agreed on, and one that never begins costs as much as
any other.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable

# Connections. Each costs 52 KB, and up to 64 more with a head or a usual body that has no end: 115 MB for all, beside
# the program's 50 and 32 of room for large reviews, within the 256 of its container. Of API servers each opens as many
# as it has reviews at once, some tens.
CONNECTIONS_MAX: Final = 1000
# Seconds until TLS is agreed on, which takes two round trips.
HANDSHAKE_SECONDS: Final = 10.0
_PAUSE: Final = 1.0  # seconds until the next try where the system has no more descriptors; asyncio's own


class Served(Protocol):
    """What serves a connection, once TLS is agreed on."""

    connections: set[Any]  # of its kind

    def is_answering(self) -> bool:
        """Whether a whole request waits for its answer."""

    def wanted(self) -> tuple[bool, float]:
        """Which of two goes first: the lesser."""

    def end(self) -> None:
        """Ends at once, and is counted no more."""


class ConnectionLimiter:
    """Takes connections of a listening socket until it is closed, for what `serves` makes."""

    def __init__(self, listener: socket.socket, serves: Callable[[], Any], context: ssl.SSLContext | None) -> None:
        self._listener, self._serves, self._context = listener, serves, context
        self._waiting: dict[socket.socket, float] = {}  # for TLS, since when, in the order of their coming
        self._tasks: set[asyncio.Task[None]] = set()  # the loop itself would let go of them
        listener.setblocking(False)
        self._task = asyncio.get_running_loop().create_task(self._accept())

    def close(self) -> None:
        """Takes no more."""
        self._task.cancel()

    async def wait_closed(self) -> None:
        """Returns when the socket is closed too."""
        with suppress(asyncio.CancelledError):
            await self._task

    async def _accept(self) -> None:
        with self._listener:  # closed with this task, when the loop looks at it no more
            while True:
                try:
                    connection, _ = await asyncio.get_running_loop().sock_accept(self._listener)
                except ConnectionError:
                    continue  # one that was given up before it was taken says nothing of the next
                except OSError:
                    await asyncio.sleep(_PAUSE)
                else:
                    self._take(connection)

    def _take(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        self._waiting[connection] = loop.time()
        task = loop.create_task(self._begin(connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _begin(self, connection: socket.socket) -> None:
        protocol = self._serves()
        if len(self._waiting) + len(protocol.connections) > CONNECTIONS_MAX:
            self._make_room(protocol.connections, connection)
        with suppress(OSError):  # TLS's own errors are some too: who does not speak it is no concern of ours
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: protocol,
                connection,
                ssl=self._context,
                ssl_handshake_timeout=HANDSHAKE_SECONDS,
            )
        self._waiting.pop(connection, None)

    def _make_room(self, served: Iterable[Served], fresh: socket.socket) -> None:
        """Ends the least wanted connection: those that never asked come first, then which was silent for longest.

        So who opens many and is silent drives out his own, and no API server. Those that are answered stay; where there
        are no others, the fresh one goes.
        """
        idle = min((each for each in served if not each.is_answering()), key=lambda each: each.wanted(), default=None)
        first, came = next(iter(self._waiting.items()))
        if idle is None or (first is not fresh and (False, came) < idle.wanted()):
            self._waiting.pop(first)
            with suppress(OSError):
                first.shutdown(socket.SHUT_RDWR)  # which its transport takes for the other side's end
        else:
            idle.end()
