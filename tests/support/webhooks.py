"""The webhook as a real server: within the test's process, with shorter deadlines, or as the program it is."""

from __future__ import annotations

import json
import os
import select
import socket
import ssl
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import uvloop
from prometheus_client import CollectorRegistry

from tests.localcluster.ports import free_port
from tests.support.certificates import HOST
from tests.support.recorder import Recorder
from webhook.app import AppContext, application
from webhook.certificate_watcher import CertificateWatcher
from webhook.metrics import Metrics
from webhook.server import Server, config

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.certificates import Mount

ROOT = Path(__file__).parent.parent.parent
PATIENCE = 20.0  # seconds until a state that should have come by itself is a failure, on a busy machine


def eventually(is_so: Callable[[], Any], what: str) -> Any:
    """The first true value of `is_so`; fails with `what` when there is none in time."""
    deadline = time.monotonic() + PATIENCE
    while not (value := is_so()):
        assert time.monotonic() < deadline, f"in vain: {what}"
        time.sleep(0.01)
    return value


_CLOSED, _CLOSE_WAIT = 7, 8  # states of TCP, as Linux numbers them


class Client:
    """A TLS connection that trusts one issuer, by the webhook's name or, without SNI, by its address.

    `receives` are the bytes that it takes before it reads them; 0 for as many as usual.
    """

    def __init__(self, port: int, issuer: bytes, host: str = HOST, receives: int = 0) -> None:
        context = ssl.create_default_context(cadata=issuer.decode())
        plain = socket.socket()
        if receives:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receives)
        plain.settimeout(PATIENCE)
        plain.connect(("127.0.0.1", port))
        self._socket = context.wrap_socket(plain, server_hostname=host)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    @property
    def serial(self) -> str:
        """Serial number of the certificate that was served."""
        told: Any = self._socket.getpeercert()
        return str(told["serialNumber"])

    def has_come(self) -> bool:
        """Whether there is something to read."""
        return self._socket.pending() > 0 or bool(select.select([self._socket], [], [], 0)[0])

    def is_cut(self) -> bool:
        """Whether the server has ended the connection, by TCP's own state, whatever is left to be read."""
        return self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] in (_CLOSED, _CLOSE_WAIT)

    def half_close(self) -> None:
        """Sends no more."""
        self._socket.shutdown(socket.SHUT_WR)

    def send(self, data: bytes) -> None:
        """Sends bytes as they are."""
        self._socket.sendall(data)

    def rest(self) -> bytes:
        """All that still comes until the server closes; a server that does not close fails by timeout."""
        received = b""
        while data := self._socket.recv(65536):
            received += data
        return received

    def answer(self) -> tuple[int, bytes]:
        """Status and body of the next response."""
        received = b""
        while b"\r\n\r\n" not in received:
            received += self._some()
        head, _, body = received.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        while len(body) < length:
            body += self._some()
        return int(head.split()[1]), body

    def _some(self) -> bytes:
        data = self._socket.recv(65536)
        assert data, "the connection was closed before the answer was complete"
        return data


def get(path: str) -> bytes:
    """A request's bytes."""
    return f"GET {path} HTTP/1.1\r\nhost: {HOST}\r\n\r\n".encode()


def post(path: str, body: bytes) -> bytes:
    """A review's bytes."""
    head = f"POST {path} HTTP/1.1\r\nhost: {HOST}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


@contextmanager
def served(mount: Mount) -> Iterator[int]:
    """The webhook in a thread with an event loop of its own; gives its port."""
    log, listens, port = Recorder(), threading.Event(), free_port()
    rotation = CertificateWatcher((mount.certificate_file, mount.key_file), time.time, log)
    rotation.look()
    shell = AppContext(log, Metrics(CollectorRegistry(), lambda: 0), rotation.is_ready)
    server = Server(config(application(shell), ("127.0.0.1", port), rotation.context), listens.set)
    thread = threading.Thread(target=lambda: uvloop.run(server.serve()))
    thread.start()
    try:
        assert listens.wait(PATIENCE)
        yield port
    finally:
        server.should_exit = True
        thread.join()


class Program:
    """`python -m webhook`, started."""

    def __init__(self, settings: dict[str, str]) -> None:
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("TLS_", "WEBHOOK_"))}
        command = [sys.executable, "-m", "webhook"]
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=inherited | settings, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.append(line)

    def events(self, name: str) -> list[dict[str, Any]]:
        """The lines of its log with that event."""
        parsed = [json.loads(line) for line in list(self._lines)]
        return [event for event in parsed if event["event"] == name]

    def told(self, name: str, times: int = 1) -> dict[str, Any]:
        """The line of its log with that event, once it is there so many times."""
        events: list[dict[str, Any]] = eventually(
            lambda: (found := self.events(name)) and len(found) >= times and found, f"event {name}: {self._lines}"
        )
        return events[-1]

    def end(self) -> tuple[int, str]:
        """Exit status and what stands on stderr, once it has ended."""
        status = self.process.wait(PATIENCE)
        self._reader.join()
        assert self.process.stderr is not None
        return status, self.process.stderr.read()

    def close(self) -> None:
        """Leaves nothing behind."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join()
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()


@contextmanager
def program(mount: Mount, **settings: str) -> Iterator[tuple[Program, int]]:
    """The program with its certificate mounted, and its port."""
    port = free_port()
    started = Program(
        {
            "WEBHOOK_HOST": "127.0.0.1",
            "WEBHOOK_PORT": str(port),
            "TLS_CERT_FILE": str(mount.certificate_file),
            "TLS_KEY_FILE": str(mount.key_file),
            **settings,
        }
    )
    try:
        yield started, port
    finally:
        started.close()
