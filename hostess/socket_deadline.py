"""A limit to all that is done with a socket: its own time-out begins anew with each byte that drips in."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def within(sock: socket.socket, seconds: float) -> Iterator[None]:
    """Shuts the socket down after that time, and raises TimeoutError; RuntimeError where no thread can be had for it.

    It is not left to the reader to raise: http.client takes the end of a connection for the end of an answer.
    """
    over = threading.Event()
    timer = threading.Timer(seconds, _cut, (sock, over))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        if over.is_set():
            raise TimeoutError(f"not done within {seconds:.0f} s")


def _cut(sock: socket.socket, over: threading.Event) -> None:
    over.set()  # before whoever reads finds the end
    with contextlib.suppress(OSError):
        # SSLSocket.shutdown would drop the TLS session as well, under who reads just now.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
