"""The last gate before the network: a socket that sends nothing once this process may not write any more.

The lease is checked before each request, but a process may be stopped at any point after that (a suspended machine, a
frozen container, SIGSTOP) and go on when another one leads. What had not left it by then must not leave it at all: not
a request that was just being put together, nor the rest of one in a buffer.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, Final

import aiohttp

from controller.errors import Fenced

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable

    Buffer = bytes | bytearray | memoryview
    # Raises Fenced where this process may not write.
    MayWrite = Callable[[], object]

REFUSED: Final = "not sent: the lease was lost on the way"


class FencedSocket(socket.socket):
    """Asks before each piece. Refuses as a broken connection does, which is what its user is prepared for."""

    may_write: MayWrite

    def send(self, data: Buffer, flags: int = 0, /) -> int:  # type: ignore[override]  # any buffer, as asyncio has them
        """Sends, or raises ConnectionAbortedError."""
        self._check()
        return super().send(data, flags)

    def sendmsg(self, buffers: Iterable[Buffer], *rest: Any) -> int:  # type: ignore[override]
        """The same for several pieces: asyncio from Python 3.12 on."""
        self._check()
        return super().sendmsg(buffers, *rest)

    def _check(self) -> None:
        try:
            self.may_write()
        except Fenced as error:
            raise ConnectionAbortedError(REFUSED) from error


def connector(may_write: MayWrite, limit: int, trust: ssl.SSLContext) -> aiohttp.TCPConnector:
    """Connections, `limit` of them at most, that send only while `may_write` does not raise."""

    def fenced(address: tuple[Any, ...]) -> FencedSocket:
        made = FencedSocket(*address[:3])
        made.may_write = may_write
        return made

    return aiohttp.TCPConnector(limit=limit, ssl=trust, socket_factory=fenced)
