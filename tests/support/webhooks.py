"""Run the webhook as a real server: in the test's process with shorter deadlines, or as the program."""

from __future__ import annotations

import json
import os
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

from common.metrics import new_registry
from tests.localcluster.ports import free_port
from tests.support.certificates import HOST
from tests.support.recorder import Recorder
from webhook.app import AppContext, application
from webhook.certificate_watcher import CertificateWatcher
from webhook.metrics import Metrics
from webhook.server import Server, config

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from common.types import Json
    from tests.support.certificates import Mount

ROOT = Path(__file__).parent.parent.parent
PATIENCE = 20.0  # seconds to wait for a state on a busy machine


def eventually(condition: Callable[[], Any], description: str) -> Any:
    """Return the first true value of the condition. Fail with the description after PATIENCE."""
    deadline = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < deadline, f"in vain: {description}"
        time.sleep(0.01)
    return value


class Client:
    """A TLS connection that trusts one issuer. The address as `host` means a handshake without a server name.

    `receives` limits the receive buffer, in bytes; 0 means the default.
    """

    def __init__(
        self, port: int, issuer: bytes, host: str = HOST, receives: int = 0, timeout: float = PATIENCE
    ) -> None:
        context = ssl.create_default_context(cadata=issuer.decode())
        plain = socket.socket()
        if receives:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receives)
        plain.settimeout(timeout)
        plain.connect(("127.0.0.1", port))
        self._socket = context.wrap_socket(plain, server_hostname=host)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    @property
    def serial(self) -> str:
        """Return the serial number of the served certificate."""
        certificate: Any = self._socket.getpeercert()
        return str(certificate["serialNumber"])

    def half_close(self) -> None:
        """Close the sending direction."""
        self._socket.shutdown(socket.SHUT_WR)

    def send(self, data: bytes) -> None:
        """Send bytes unchanged."""
        self._socket.sendall(data)

    def rest(self) -> bytes:
        """Return all bytes until the server closes. Fail by timeout if it does not close."""
        received = b""
        while data := self._socket.recv(65536):
            received += data
        return received

    def answer(self) -> tuple[int, bytes]:
        """Return status and body of the next response."""
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
    """Return the bytes of a GET request."""
    return f"GET {path} HTTP/1.1\r\nhost: {HOST}\r\n\r\n".encode()


def post(path: str, body: bytes) -> bytes:
    """Return the bytes of a review's request."""
    head = f"POST {path} HTTP/1.1\r\nhost: {HOST}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


@contextmanager
def served(mount: Mount) -> Iterator[int]:
    """Serve the webhook in a thread with its own event loop; yield the port."""
    log, listens, port = Recorder(), threading.Event(), free_port()
    watcher = CertificateWatcher((mount.certificate_file, mount.key_file), time.time, log)
    watcher.reload()
    context = AppContext(log, Metrics(new_registry(), lambda: 0), watcher.is_ready)
    server = Server(config(application(context), ("127.0.0.1", port), watcher.context), listens.set)
    thread = threading.Thread(target=lambda: uvloop.run(server.serve()))
    thread.start()
    try:
        assert listens.wait(PATIENCE)
        yield port
    finally:
        server.should_exit = True
        thread.join()


class Program:
    """A process of `python -m webhook`."""

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

    def events(self, name: str) -> list[Json]:
        """Return the log lines with that event."""
        parsed = [json.loads(line) for line in list(self._lines)]
        return [event for event in parsed if event["event"] == name]

    def wait_for_event(self, name: str, times: int = 1) -> Json:
        """Return the last log line with that event after it was logged `times` times."""
        events: list[Json] = eventually(
            lambda: (found := self.events(name)) and len(found) >= times and found, f"event {name}: {self._lines}"
        )
        return events[-1]

    def end(self) -> tuple[int, str]:
        """Wait for the end; return the exit status and stderr."""
        status = self.process.wait(PATIENCE)
        self._reader.join()
        assert self.process.stderr is not None
        return status, self.process.stderr.read()

    def close(self) -> None:
        """Kill the process and close its pipes."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join()
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()


@contextmanager
def program(mount: Mount, **settings: str) -> Iterator[tuple[Program, int]]:
    """Run the program with a mounted certificate; yield it and its port."""
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
