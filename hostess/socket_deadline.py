"""Limit the whole use of a socket: its own time-out starts again with each byte."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def within(sock: socket.socket, seconds: float) -> Iterator[None]:
    """Shut the socket down after `seconds` and raise TimeoutError. Raises RuntimeError if no thread can start.

    The block cannot raise it: http.client takes the end of a connection for the end of an answer.
    """
    expired = threading.Event()
    timer = threading.Timer(seconds, _shut_down, (sock, expired))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        if expired.is_set():
            raise TimeoutError(f"not done within {seconds:.0f} s")


def _shut_down(sock: socket.socket, expired: threading.Event) -> None:
    expired.set()  # before the reader sees the end
    with contextlib.suppress(OSError):
        # SSLSocket.shutdown would also drop the TLS session while the reader uses it.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
