"""Serve TLS on the loopback address, with the faults of a mirror."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from typing import TYPE_CHECKING, NoReturn, Self

from tests.support.certificates import HOST, Issuer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
BAD = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\n{}"
ENDLESS = b"HTTP/1.1 200 OK\r\nX-Filler: " + b"x" * 4000
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\n"
HOST_NAME = HOST


def answering(answer: bytes) -> Callable[[ssl.SSLSocket], None]:
    """Answer every request of a connection with these bytes."""

    def answer_each(client: ssl.SSLSocket) -> None:
        while client.recv(4096):
            client.sendall(answer)
            if b"close" in answer:
                client.close()
                return

    return answer_each


def dripping(answer: bytes = ENDLESS, pause: float = 0.2, at_once: bytes = b"") -> Callable[[ssl.SSLSocket], None]:
    """Answer byte by byte, each within a socket's time-out."""

    def drip(client: ssl.SSLSocket) -> None:
        client.recv(4096)
        client.sendall(at_once)
        for each in answer:
            client.sendall(bytes([each]))
            time.sleep(pause)

    return drip


def document(listed: bytes, watched: bytes = b"") -> Callable[[ssl.SSLSocket], None]:
    """Answer lists and watches of an API server, then close."""

    def answer(client: ssl.SSLSocket) -> None:
        body = watched if b"watch=1" in client.recv(4096) else listed
        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    return answer


def account_for(server: Server) -> Path:
    """Return a service account's folder that trusts this server."""
    (server.folder / "ca.crt").write_bytes(server.issuer.certificate)
    (server.folder / "token").write_text("a token")
    return server.folder


def without_threads(_: threading.Thread) -> NoReturn:
    """Fail like a thread's start on a node without process ids."""
    raise RuntimeError("can't start new thread")


class Server:
    """Server with a behaviour: a function of a connection, or None for a handshake that hangs."""

    def __init__(self, folder: Path, issuer: Issuer | None = None) -> None:
        self.issuer = issuer or Issuer()
        self.folder = folder
        self.behave: Callable[[ssl.SSLSocket], None] | None = answering(GOOD)
        self.connections = 0
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self.context = self.trusted_from(self.issuer)
        self._listen(0)

    def trusted_from(self, issuer: Issuer) -> ssl.SSLContext:
        """Return a TLS context with this issuer's certificate for HOST_NAME."""
        issued = issuer.issue()
        pair = self.folder / "pair.pem"
        pair.write_bytes(issued.certificate + issued.key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair)
        return context

    def _listen(self, port: int) -> None:
        self.listening = socket.create_server(("127.0.0.1", port))
        self.port = self.listening.getsockname()[1]
        self._start(self._accept, self.listening)

    def _start(self, what: Callable[[socket.socket], None], argument: socket.socket) -> None:
        thread = threading.Thread(target=what, args=(argument,), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listening: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listening.accept()
                self.connections += 1
                self._open.append(client)
                if self.behave is not None:
                    self._start(self._serve, client)

    def _serve(self, plain: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError):
            client = self.context.wrap_socket(plain, server_side=True)
            self._open.append(client)
            with client:
                assert self.behave is not None
                self.behave(client)

    def stop(self) -> None:
        """Close the port and all connections."""
        for each in (self.listening, *self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self._open.clear()
        for thread in self._threads:
            thread.join(5)
        self._threads.clear()

    def start(self) -> None:
        """Listen at the same port again."""
        self._listen(self.port)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
