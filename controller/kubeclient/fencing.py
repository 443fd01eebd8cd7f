"""The last gate before the network: a socket that sends nothing once this process may not write any more.

The lease is checked before each request, but a process may be stopped at any point after that (a suspended machine, a
frozen container, SIGSTOP) and go on when another one leads. What had not left it by then must not leave it at all: not
a request that was just being put together, nor the rest of one in a buffer.

What the kernel has taken is out of our hands: where the network is cut it is sent again and again, and would arrive
whenever that heals. So the kernel is told to give it up before anybody else may write.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, Final

import aiohttp

from controller.kubeclient.errors import NotLeader
from controller.objects.lease import LEASE_DURATION, RENEW_DEADLINE

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable

    Buffer = bytes | bytearray | memoryview
    # Raises Fenced where this process may not write.
    MayWrite = Callable[[], object]

# Milliseconds for which the kernel may go on sending what is not acknowledged: taken at the last moment at which we may
# write, it is given up when another may. Linux has it.
UNACKNOWLEDGED_MAX: Final = round((LEASE_DURATION - RENEW_DEADLINE) * 1000)
_USER_TIMEOUT: Final[int | None] = getattr(socket, "TCP_USER_TIMEOUT", None)
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
        except NotLeader as error:
            raise ConnectionAbortedError(REFUSED) from error


def connector(may_write: MayWrite, limit: int, trust: ssl.SSLContext) -> aiohttp.TCPConnector:
    """Connections, `limit` of them at most, that send only while `may_write` does not raise."""

    def fenced(address: tuple[Any, ...]) -> FencedSocket:
        made = FencedSocket(*address[:3])
        made.may_write = may_write
        if _USER_TIMEOUT is not None:
            made.setsockopt(socket.IPPROTO_TCP, _USER_TIMEOUT, UNACKNOWLEDGED_MAX)
        return made

    return aiohttp.TCPConnector(limit=limit, ssl=trust, socket_factory=fenced)
