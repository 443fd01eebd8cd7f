"""Accept all waiting connections at once.

The server of uvloop accepts one connection per iteration of the event loop. While many clients read large blobs an
iteration takes some 0.1 s, so that the last of a hundred new connections would wait for ten seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable

# Seconds until the next attempt if the process has no file descriptor left.
RETRY_SECONDS: Final = 1.0


@dataclass(slots=True)
class Acceptor:
    """Accepts the connections of a listening socket. `has_room(n)` returns False if `n` new ones are too many."""

    listening: socket.socket
    protocol: Callable[[], asyncio.BaseProtocol]
    has_room: Callable[[int], bool]
    context: ssl.SSLContext | None
    handshake_seconds: float
    goodbye_seconds: float
    _handshakes: set[asyncio.Task[None]] = field(default_factory=set)
    _retry: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Accept connections from now on."""
        self.listening.setblocking(False)
        asyncio.get_running_loop().add_reader(self.listening, self._accept)

    def stop(self) -> None:
        """Accept no more connections, and end those whose handshake is in progress."""
        asyncio.get_running_loop().remove_reader(self.listening)
        if self._retry is not None:
            self._retry.cancel()
        self.listening.close()
        for each in self._handshakes:
            each.cancel()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:
                loop = asyncio.get_running_loop()
                loop.remove_reader(self.listening)
                self._retry = loop.call_later(RETRY_SECONDS, self.start)
                return
            if not self.has_room(len(self._handshakes) + 1):
                connection.close()
                continue
            task = asyncio.create_task(self._connect(connection))
            self._handshakes.add(task)
            task.add_done_callback(self._handshakes.discard)

    async def _connect(self, connection: socket.socket) -> None:
        is_tls = self.context is not None
        with contextlib.suppress(OSError):
            await asyncio.get_running_loop().connect_accepted_socket(
                self.protocol,
                connection,
                ssl=self.context,
                ssl_handshake_timeout=self.handshake_seconds if is_tls else None,
                ssl_shutdown_timeout=self.goodbye_seconds if is_tls else None,
            )
