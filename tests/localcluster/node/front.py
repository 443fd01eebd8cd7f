"""Serve TLS in front of a registry that is an upstream: count requests and simulate faults.

Runs as its own process: `python -m tests.localcluster.node.front <json>`, with the fields of `Settings`. The file
`faults` is read for each request and each piece of a body. Each answer is a JSON line in the file `records`, written
before its last byte is sent.
"""

import http.client
import http.server
import json
import socket
import ssl
import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from http import HTTPStatus
from pathlib import Path

from common.types import Json
from tests.localcluster.node.faults import HANG, TRUNCATE, Faults, Record, Throttle, kind_of

PIECE = 256 * 1024
POLL = 0.05  # seconds between two reads of the faults during `hang`
# Headers of the connection, and the length, which is computed again.
HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"})


@dataclass(frozen=True)
class Settings:
    """The address, ports of 127.0.0.1 (`registry` and `tokens`, 0 for none) and files."""

    address: str
    port: int
    registry: int
    tokens: int
    certificate: str
    key: str
    faults: str
    records: str


class Front:
    """The state of all connections."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.throttle = Throttle()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(settings.certificate, settings.key)
        self._faults = Path(settings.faults)
        self._records = Path(settings.records)

    @property
    def faults(self) -> Faults:
        """Return the faults to simulate now."""
        return Faults.read(self._faults)

    def hang(self) -> bool:
        """Wait while the fault is `hang`; return True if it was."""
        hung = False
        while self.faults.fault == HANG:
            hung = True
            time.sleep(POLL)
        return hung

    def note(self, record: Record) -> None:
        """Append one record. One write per line keeps the lines of two threads apart."""
        with self._records.open("ab", buffering=0) as file:
            file.write(json.dumps(asdict(record)).encode() + b"\n")


class Handler(http.server.BaseHTTPRequestHandler):
    """A connection."""

    protocol_version = "HTTP/1.1"
    front: Front

    def setup(self) -> None:
        """Do the TLS handshake in the connection's thread, so that an idle client blocks no other."""
        plain: socket.socket = self.request
        self.front.hang()
        self.request = self.front.context.wrap_socket(plain, server_side=True)
        super().setup()

    def do_GET(self) -> None:
        """Answer with the fault or as the registry does."""
        if self.front.hang():
            self.close_connection = True
            return
        fault = self.front.faults.fault
        if isinstance(fault, int):
            self._refuse(HTTPStatus(fault))
        else:
            self._pass_on()

    def do_HEAD(self) -> None:
        """Answer without a body."""
        self.do_GET()

    def do_POST(self) -> None:
        """Answer; some clients request tokens by POST."""
        self.do_GET()

    def _refuse(self, status: HTTPStatus) -> None:
        code = status.name.replace("_", "")
        body = json.dumps({"errors": [{"code": code, "message": f"{status.phrase}, a simulated fault"}]}).encode()
        headers = {"Content-Type": "application/json"}
        if status == HTTPStatus.UNAUTHORIZED:
            headers["WWW-Authenticate"] = 'Basic realm="simulated"'
        self._begin(status, headers, len(body))
        self._send(iter([body]), status, len(body))

    def _pass_on(self) -> None:
        kind, settings = kind_of(self.path), self.front.settings
        backend = http.client.HTTPConnection("127.0.0.1", settings.tokens if kind == "token" else settings.registry)
        try:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            # A client may send one Accept header for each kind of manifest; join them.
            headers = {name: ", ".join(self.headers.get_all(name, [])) for name in self.headers}
            backend.request(self.command, self.path, body, {**headers, "X-Forwarded-Proto": "https"})
            self._relay(backend.getresponse())
        except ConnectionRefusedError:
            self._refuse(HTTPStatus.BAD_GATEWAY)
        finally:
            backend.close()

    def _relay(self, answer: http.client.HTTPResponse) -> None:
        """Send the registry's answer. Read one without a length first; those are short."""
        headers = {name: value for name, value in answer.getheaders() if name.lower() not in HOP_BY_HOP}
        length, pieces = answer.headers.get("Content-Length"), _pieces(answer)
        if length is None:
            body = answer.read()
            length, pieces = str(len(body)), iter([body] if body else [])
        self._begin(answer.status, headers, int(length))
        self._send(pieces, answer.status, int(length))

    def _begin(self, status: int, headers: Json, length: int) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        if not self._has_body(length):
            self._note(status, 0)
        self.end_headers()

    def _has_body(self, length: int) -> bool:
        return bool(length) and self.command != "HEAD"

    def _send(self, pieces: Iterator[bytes], status: int, length: int) -> None:
        """Send a body. Record it before its last byte, so that a client that has it finds it counted."""
        if not self._has_body(length):
            return
        blob, sent = kind_of(self.path) == "blob", 0
        try:
            for piece in pieces:
                faults = self.front.faults
                if faults.fault == TRUNCATE and blob and sent + len(piece) > length // 2:
                    self.wfile.write(piece[: max(0, length // 2 - sent)])
                    self._cut()
                    return
                self.front.throttle.pause(len(piece), faults.rate)
                sent += len(piece)
                if sent < length:
                    self.wfile.write(piece)
                else:
                    self._note(status, sent)
                    self.wfile.write(piece)
        finally:
            if sent < length:
                self._note(status, sent)

    def _cut(self) -> None:
        """Close the connection without TLS close_notify, as a broken network does."""
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def _note(self, status: int, size: int) -> None:
        account = "Authorization" in self.headers
        self.front.note(Record(self.command, self.path, kind_of(self.path), status, size, account))

    def log_message(self, *_: object) -> None:
        """Log nothing; the records have it."""


class Server(http.server.ThreadingHTTPServer):
    """A server that ignores broken connections."""

    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_: object) -> None:
        """Print errors, but not those of clients that disconnect."""
        if not isinstance(sys.exc_info()[1], OSError):  # includes ssl.SSLError
            traceback.print_exc()


def _pieces(answer: http.client.HTTPResponse) -> Iterator[bytes]:
    while piece := answer.read(PIECE):
        yield piece


def main(settings: Settings) -> None:
    """Serve until this process is ended."""
    Handler.front = Front(settings)
    Server.address_family = socket.AF_INET6 if ":" in settings.address else socket.AF_INET
    Server((settings.address, settings.port), Handler).serve_forever()


if __name__ == "__main__":
    main(Settings(**json.loads(sys.argv[1])))
