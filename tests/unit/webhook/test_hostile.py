"""The webhook as the program it is, among connections that mean it no good."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.certificates import HOST, Issuer, Mount
from tests.support.reviews import a_review
from tests.support.webhooks import Client, eventually, get, post, program, served
from webhook.app import BODY_MAX, BODY_USUAL, ROOM
from webhook.connection_limiter import CONNECTIONS_MAX
from webhook.server import HEAD_MAX, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

REVIEW = post("/validate", a_review().body())
CUT = (ConnectionError, ssl.SSLEOFError)
# MiB; deploy/webhook.yaml gives the container 256.
MEMORY = 192


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture(scope="module")
def mount(tmp_path_factory: pytest.TempPathFactory, issuer: Issuer) -> Mount:
    mount = Mount(tmp_path_factory.mktemp("hostile") / "tls")
    mount.hold_pair(issuer.issue())
    return mount


class Webhook:
    """The program, its port, and whom it trusts."""

    def __init__(self, port: int, issuer: Issuer, pid: int) -> None:
        self.port, self.issuer, self.pid = port, issuer, pid

    def client(self) -> Client:
        """A connection over TLS."""
        return Client(self.port, self.issuer.certificate)

    def plain(self) -> socket.socket:
        """A connection without it."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def answers(self) -> float:
        """Asserts that a review is answered; seconds that it took."""
        began = time.monotonic()
        with self.client() as client:
            client.send(REVIEW)
            assert client.answer()[0] == 200
        return time.monotonic() - began

    def said(self, request: bytes) -> bytes:
        """All that comes back, until it closes the connection."""
        with self.client() as client:
            client.send(request)
            return client.rest()

    def megabytes(self) -> int:
        """Resident memory."""
        (line,) = (each for each in Path(f"/proc/{self.pid}/status").read_text().splitlines() if "VmRSS" in each)
        return int(line.split()[1]) // 1024


@pytest.fixture(scope="module")
def webhook(mount: Mount, issuer: Issuer) -> Iterator[Webhook]:
    with program(mount) as (started, port):
        started.told("webhook listens")
        yield Webhook(port, issuer, started.process.pid)
        assert started.process.poll() is None, "nothing has ended it"
        assert not started.events("review failed")


def test_reviews_are_answered_beside_four_hundred_idle_connections_and_as_many_that_never_speak(
    webhook: Webhook,
) -> None:
    idle = [webhook.client() for _ in range(400)]
    silent = [webhook.plain() for _ in range(400)]
    try:
        assert max(webhook.answers() for _ in range(20)) < 5  # the API server waits ten
        assert webhook.megabytes() < MEMORY
        idle[0].send(REVIEW)
        assert idle[0].answer()[0] == 200, "who was idle is answered too"
    finally:
        for client in idle:
            client.__exit__()
        for connection in silent:
            connection.close()


@pytest.mark.parametrize("speaks_tls", [False, True])
def test_thousands_of_connections_that_never_ask_drive_out_each_other_and_no_api_server(
    webhook: Webhook, *, speaks_tls: bool
) -> None:
    """Two and a half times as many as there is room for, among them one that asks now and then."""
    with webhook.client() as server:
        others: list[Client | socket.socket] = []
        try:
            for number in range(5 * CONNECTIONS_MAX // 2):
                others.append(webhook.client() if speaks_tls else webhook.plain())
                if number % 100 == 0:
                    server.send(REVIEW)
                    assert server.answer()[0] == 200
            assert webhook.answers() < 5
            assert len(list(Path(f"/proc/{webhook.pid}/fd").iterdir())) < CONNECTIONS_MAX + 50
            assert webhook.megabytes() < MEMORY
        finally:
            for each in others:
                each.__exit__()


def test_large_bodies_that_do_not_end_find_room_up_to_a_bound_and_usual_reviews_always(webhook: Webhook) -> None:
    clients = [webhook.client() for _ in range(2 * ROOM // BODY_MAX)]
    try:
        for client in clients:
            client.send(post("/validate", b" " * BODY_MAX)[:-1])
        refused = eventually(lambda: [client for client in clients if client.has_come()], "some are refused")
        assert all(b" 200 " not in client.rest() for client in refused)
        assert webhook.answers() < 5
        assert webhook.megabytes() < MEMORY
    finally:
        for client in clients:
            client.__exit__()
    eventually(lambda: _large(webhook) == 200, "there is room again")


def _large(webhook: Webhook) -> int:
    body = a_review().body()
    with webhook.client() as client:
        client.send(post("/validate", body + b" " * (BODY_MAX - len(body))))
        return client.answer()[0]


def test_a_body_just_above_the_usual_counts_little(webhook: Webhook) -> None:
    body = a_review().body()
    with webhook.client() as client:
        client.send(post("/validate", body + b" " * (BODY_USUAL + 1 - len(body))))
        assert client.answer()[0] == 200


@pytest.mark.parametrize(
    "head",
    [
        "content-length: 4\r\ncontent-length: 60",
        "content-length: 60\r\ncontent-length: 4",
        "content-length: 4, 60",
        "content-length: +4",
        "content-length: 0x4",
        "content-length : 4",
        "content-length: 4\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 4",
        "transfer-encoding: chunked, identity",
        "transfer-encoding: xchunked",
        "transfer-encoding:\r\n chunked\r\ncontent-length: 4",
        "transfer-encoding\x00: chunked",
        "x: y\rtransfer-encoding: chunked",
    ],
)
def test_one_request_is_never_two(webhook: Webhook, head: str) -> None:
    """What two readers may count differently is refused, and what follows is not answered as a request."""
    smuggled = get("/healthz")
    request = f"POST /validate HTTP/1.1\r\nhost: {HOST}\r\ncontent-type: application/json\r\n{head}\r\n\r\n"
    received = webhook.said(request.encode() + b"0\r\n\r\n" + smuggled)
    assert received.startswith(b"HTTP/1.1 4")
    assert received.count(b"HTTP/1.1 ") == 1
    assert b"ok\n" not in received


def test_the_old_protocol_is_answered_once_and_closed(webhook: Webhook) -> None:
    received = webhook.said(REVIEW.replace(b"HTTP/1.1", b"HTTP/1.0", 1) + REVIEW)
    assert received.startswith(b"HTTP/1.1 200")
    assert received.count(b"HTTP/1.1 ") == 1


NOISE = [get("/healthz"), b"\x00" * 600, b"\xff" * 600, b"\x16\x03\x01\xff\xff" + b"x" * 600, b"SSH-2.0-x\r\n"]


@pytest.mark.parametrize("noise", NOISE)
def test_garbage_instead_of_tls_ends_that_connection_alone(webhook: Webhook, noise: bytes) -> None:
    with webhook.client() as other, webhook.plain() as connection:
        connection.sendall(noise)
        connection.shutdown(socket.SHUT_WR)
        received = b""
        while data := _some(connection):
            received += data
        assert b"HTTP" not in received
        other.send(REVIEW)
        assert other.answer()[0] == 200


def _some(connection: socket.socket) -> bytes:
    try:
        return connection.recv(4096)
    except ConnectionResetError:
        return b""


def test_a_connection_that_its_client_has_half_closed_is_let_go(webhook: Webhook) -> None:
    descriptors = Path(f"/proc/{webhook.pid}/fd")
    before = len(list(descriptors.iterdir()))
    clients = [webhook.client() for _ in range(20)]
    for number, client in enumerate(clients):
        client.send(REVIEW if number % 2 else REVIEW[:-9])
        client.half_close()
    eventually(lambda: len(list(descriptors.iterdir())) <= before, "the server has closed its side")
    for client in clients:
        client.__exit__()


FLOODS = [b"x: y\r\n" * (HEAD_MAX // 3), b"".join(b"x%d: y\r\n" % number for number in range(HEAD_MAX // 5))]


@pytest.mark.parametrize("flood", FLOODS)
def test_a_flood_of_headers_is_cut_off_or_refused(webhook: Webhook, flood: bytes) -> None:
    received = b""
    with webhook.client() as client:
        try:
            client.send(b"POST /validate HTTP/1.1\r\n" + flood)
            received = client.rest()
        except OSError:
            received = b""
    assert b" 200 " not in received
    assert webhook.answers() < 5


def test_requests_without_end_that_wait_for_their_turn_are_cut_off(webhook: Webhook) -> None:
    """One connection that sends small requests only; some three megabytes of them once made 150 MB of memory."""
    with Client(webhook.port, webhook.issuer.certificate, receives=4096) as client:
        with contextlib.suppress(*CUT):
            for _ in range(3000):
                client.send(get("/metrics") * 20)
        eventually(client.is_cut, "it is cut off")
    assert webhook.answers() < 5
    assert webhook.megabytes() < MEMORY


def test_who_does_not_read_the_answers_is_cut_off(
    mount: Mount, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost, before = threading.Event(), Protocol.connection_lost

    def connection_lost(self: Protocol, error: Exception | None) -> None:
        before(self, error)
        lost.set()

    monkeypatch.setattr(Protocol, "request_seconds", 0.3)
    monkeypatch.setattr(Protocol, "waiting_max", 10**6)
    # The server's side is looked at: the client's stays as it is for as long as nothing is read there.
    monkeypatch.setattr(Protocol, "connection_lost", connection_lost)
    with served(mount) as port, Client(port, issuer.certificate, receives=4096) as client:
        with contextlib.suppress(*CUT):
            client.send(get("/metrics") * 20_000)
        assert lost.wait(20)
        with Client(port, issuer.certificate) as other:
            other.send(REVIEW)
            assert other.answer()[0] == 200


def test_nothing_of_it_has_cost_memory_for_good(webhook: Webhook) -> None:
    webhook.answers()
    assert webhook.megabytes() < MEMORY
