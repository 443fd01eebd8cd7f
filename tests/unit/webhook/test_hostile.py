"""The webhook as a program, among hostile connections."""

from __future__ import annotations

import contextlib
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.certificates import HOST, Issuer, Mount
from tests.support.reviews import a_review
from tests.support.webhooks import Client, eventually, get, post, program
from webhook.app import BODY_MAX, BODY_USUAL, LARGE_BODIES_MAX
from webhook.connection_limiter import CONNECTIONS_MAX
from webhook.server import HEAD_MAX

if TYPE_CHECKING:
    from collections.abc import Iterator

BODY = a_review().body()
REVIEW = post("/validate", BODY)
HALF_HELLO = b"\x16\x03\x01\x02\x00\x01"  # the begin of a TLS handshake
MEMORY_MAX = 224  # MiB that the kernel cannot reclaim; deploy/webhook.yaml gives the container 256


class Webhook:
    """The running program."""

    def __init__(self, port: int, issuer: Issuer, pid: int) -> None:
        self.port, self.issuer, self.pid = port, issuer, pid

    def client(self) -> Client:
        """Connect with TLS."""
        return Client(self.port, self.issuer.certificate)

    def plain(self) -> socket.socket:
        """Connect without TLS."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def review_seconds(self) -> float:
        """Post a review on a new connection, and return its duration."""
        began = time.monotonic()
        assert self.status_of(REVIEW) == 200
        return time.monotonic() - began

    def status_of(self, request: bytes) -> int:
        """Return the status of the answer to a request on a new connection."""
        with self.client() as client:
            client.send(request)
            return client.answer()[0]

    def answers_to(self, request: bytes) -> bytes:
        """Return all bytes that the server sends until it closes."""
        with self.client() as client:
            client.send(request)
            return client.rest()

    def assert_healthy(self) -> None:
        """Assert that the program answers a review and that its memory is within the limit."""
        assert self.review_seconds() < 5
        (line,) = (each for each in Path(f"/proc/{self.pid}/status").read_text().splitlines() if "RssAnon" in each)
        assert int(line.split()[1]) // 1024 < MEMORY_MAX

    def descriptors(self) -> int:
        """Return the number of open files."""
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))


@pytest.fixture(scope="module")
def webhook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Webhook]:
    issuer, mount = Issuer(), Mount(tmp_path_factory.mktemp("hostile") / "tls")
    mount.hold_pair(issuer.issue())
    with program(mount) as (started, port):
        started.wait_for_event("webhook listening")
        webhook = Webhook(port, issuer, started.process.pid)
        yield webhook
        webhook.assert_healthy()
        assert not started.events("review failed")


def test_silent_connections_block_no_review(webhook: Webhook) -> None:
    """A client that is connected is served on. A new review is answered beside the silent connections."""
    with contextlib.ExitStack() as connections:
        connected = connections.enter_context(webhook.client())
        for number in range(CONNECTIONS_MAX + 200):
            silent = connections.enter_context(webhook.plain())
            if number % 2:
                silent.sendall(HALF_HELLO)
            if number % 100 == 0:
                connected.send(REVIEW)
                assert connected.answer()[0] == 200
        assert webhook.descriptors() < CONNECTIONS_MAX + 50
        webhook.assert_healthy()


def test_idle_connections_block_no_review(webhook: Webhook) -> None:
    """More connections than the limit have sent one request each and stay open."""
    with contextlib.ExitStack() as connections:
        for _ in range(CONNECTIONS_MAX + 20):
            client = connections.enter_context(webhook.client())
            client.send(get("/healthz"))
            assert client.answer() == (200, b"ok\n")
        for _ in range(20):
            assert webhook.review_seconds() < 5  # the API server waits ten
        assert webhook.descriptors() < CONNECTIONS_MAX + 50
        webhook.assert_healthy()


@pytest.mark.parametrize("size", [BODY_USUAL, 300_000])
def test_unfinished_bodies_stay_within_memory(webhook: Webhook, size: int) -> None:
    """The program answers usual reviews beside almost as many unfinished ones as it accepts."""
    unfinished = post("/validate", b" " * size)[:-1]
    with contextlib.ExitStack() as connections:
        for _ in range(CONNECTIONS_MAX - 20):
            client = connections.enter_context(webhook.client())
            with contextlib.suppress(OSError):
                client.send(unfinished)
        webhook.assert_healthy()


def test_endless_large_bodies_stay_within_memory(webhook: Webhook) -> None:
    """The program reads few large bodies at a time and refuses others. It answers usual reviews beside them."""
    endless = post("/validate", b" " * BODY_MAX)[:-1]
    with contextlib.ExitStack() as connections:
        clients = [connections.enter_context(webhook.client()) for _ in range(5 * LARGE_BODIES_MAX)]
        for client in clients[:LARGE_BODIES_MAX]:
            client.send(endless)
        for client in clients[LARGE_BODIES_MAX:]:
            with contextlib.suppress(OSError):
                client.send(endless)
                assert client.answer()[0] == 503
        webhook.assert_healthy()
    for size in (BODY_USUAL + 1, BODY_MAX):
        large = post("/validate", BODY + b" " * (size - len(BODY)))
        eventually(lambda: webhook.status_of(large) == 200, "a large review is read again")  # noqa: B023


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
def test_ambiguous_length_is_refused(webhook: Webhook, head: str) -> None:
    """Two parsers could disagree about the length. The bytes behind the head are not answered as a request."""
    request = f"POST /validate HTTP/1.1\r\nhost: {HOST}\r\ncontent-type: application/json\r\n{head}\r\n\r\n"
    received = webhook.answers_to(request.encode() + b"0\r\n\r\n" + get("/healthz"))
    assert received.startswith(b"HTTP/1.1 4")
    assert received.count(b"HTTP/1.1 ") == 1
    assert b"ok\n" not in received


def test_http_1_0_is_answered_once(webhook: Webhook) -> None:
    received = webhook.answers_to(REVIEW.replace(b"HTTP/1.1", b"HTTP/1.0", 1))
    assert received.startswith(b"HTTP/1.1 200")
    assert received.count(b"HTTP/1.1 ") == 1


NOISE = [get("/healthz"), b"\x00" * 600, b"\xff" * 600, b"\x16\x03\x01\xff\xff" + b"x" * 600, b"SSH-2.0-x\r\n"]


@pytest.mark.parametrize("noise", NOISE)
def test_noise_instead_of_tls_is_cut_off(webhook: Webhook, noise: bytes) -> None:
    with webhook.client() as other, webhook.plain() as connection:
        connection.sendall(noise)
        connection.shutdown(socket.SHUT_WR)
        received = b""
        with contextlib.suppress(ConnectionResetError):
            while data := connection.recv(4096):
                received += data
        assert b"HTTP" not in received
        other.send(REVIEW)
        assert other.answer()[0] == 200


def test_half_closed_connection_is_closed(webhook: Webhook) -> None:
    before = webhook.descriptors()
    with contextlib.ExitStack() as connections:
        for number in range(20):
            client = connections.enter_context(webhook.client())
            client.send(REVIEW if number % 2 else REVIEW[:-9])
            client.half_close()
        eventually(lambda: webhook.descriptors() <= before, "the server closes its side")


FLOODS = [b"x: y\r\n" * (HEAD_MAX // 3), b"".join(b"x%d: y\r\n" % number for number in range(HEAD_MAX // 5))]


@pytest.mark.parametrize("flood", FLOODS)
def test_flood_of_headers_is_cut_off(webhook: Webhook, flood: bytes) -> None:
    received = b""
    with webhook.client() as client, contextlib.suppress(OSError):
        client.send(b"POST /validate HTTP/1.1\r\n" + flood)
        received = client.rest()
    assert b" 200 " not in received
