"""Limits of the webhook's TLS server, against hostile clients. Deadlines are shortened, not skipped."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
import warnings
from typing import TYPE_CHECKING

import pytest

from tests.support.certificates import HOST, Issuer, Mount
from tests.support.reviews import a_review
from tests.support.webhooks import Client, get, post, served
from webhook import connection_limiter, server
from webhook.app import BODY_MAX
from webhook.server import HEAD_MAX, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SHORT = 0.3  # seconds
TIMED = 4.0  # seconds, longer than a busy machine stalls
LONG = 60.0
REVIEW = post("/validate", a_review().body())
HEALTHZ = get("/healthz")
SHORT_REQUEST = pytest.mark.parametrize("client", [{"request": SHORT}], indirect=True)


@pytest.fixture
def mount(tmp_path: Path, issuer: Issuer) -> Mount:
    mount = Mount(tmp_path / "tls")
    mount.hold_pair(issuer.issue())
    return mount


@pytest.fixture
def client(mount: Mount, issuer: Issuer, request: pytest.FixtureRequest) -> Iterator[Client]:
    """Connect to a server with the deadlines of the parameter."""
    with pytest.MonkeyPatch.context() as patch:
        deadlines(patch, **getattr(request, "param", {}))
        with served(mount) as port, Client(port, issuer.certificate) as client:
            yield client


def deadlines(patch: pytest.MonkeyPatch, *, idle: float = LONG, request: float = LONG) -> None:
    patch.setattr(server, "IDLE_SECONDS", idle)
    patch.setattr(Protocol, "request_seconds", request)
    patch.setattr(connection_limiter, "HANDSHAKE_SECONDS", request)


def seconds_until_cut_off(client: Client, drop: bytes) -> float:
    """Send the same bytes until the server ends the connection."""
    started = time.monotonic()
    with contextlib.suppress(OSError):  # a reset, a broken pipe or an end of TLS
        while time.monotonic() < started + LONG:
            client.send(drop)
            time.sleep(0.01)
    return time.monotonic() - started


def test_client_without_server_name_gets_certificate(mount: Mount, issuer: Issuer) -> None:
    serials = []
    with served(mount) as port:
        for host in (HOST, "127.0.0.1"):  # a client sends no server name for an address
            with Client(port, issuer.certificate, host) as client:
                client.send(get("/readyz"))
                assert client.answer() == (200, b"ok\n")
                serials.append(client.serial)
    assert serials[0] == serials[1]


def test_tls_1_1_is_refused(mount: Mount) -> None:
    def handshake(version: ssl.TLSVersion) -> str | None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.set_ciphers("ALL:@SECLEVEL=0")  # the client itself refuses TLS 1.1 otherwise
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
            context.minimum_version = version
            context.maximum_version = version
        with context.wrap_socket(socket.create_connection(("127.0.0.1", port))) as connection:
            return connection.version()

    with served(mount) as port:
        assert handshake(ssl.TLSVersion.TLSv1_2) == "TLSv1.2"
        with pytest.raises(ssl.SSLError, match=r"EOF occurred|alert protocol version"):
            handshake(ssl.TLSVersion.TLSv1_1)


@SHORT_REQUEST
@pytest.mark.parametrize("answered", [False, True])
@pytest.mark.parametrize("begun", [b"\r\n", REVIEW[:9], REVIEW[:-1]])
def test_incomplete_request_is_cut_off(client: Client, begun: bytes, *, answered: bool) -> None:
    """The request may be the first of its connection or follow another."""
    if answered:
        client.send(HEALTHZ)
        assert client.answer() == (200, b"ok\n")
    started = time.monotonic()
    client.send(begun)
    with contextlib.suppress(OSError):
        assert client.rest() == b""
    assert time.monotonic() - started < 5


@SHORT_REQUEST
@pytest.mark.parametrize(
    ("begun", "drop"),
    [(b"", b"\r\n"), (REVIEW[:30], b"x: y\r\n"), (post("/validate", b" " * BODY_MAX)[: 100 - BODY_MAX], b" ")],
)
def test_dripping_request_is_cut_off(client: Client, begun: bytes, drop: bytes) -> None:
    client.send(begun)
    assert seconds_until_cut_off(client, drop) < 5


@SHORT_REQUEST
def test_silent_connection_is_closed(client: Client) -> None:
    with contextlib.suppress(OSError):
        assert client.rest() == b""


@pytest.mark.parametrize("client", [{"idle": SHORT}], indirect=True)
def test_idle_connection_is_closed(client: Client) -> None:
    for _ in range(2):
        client.send(HEALTHZ)
        assert client.answer() == (200, b"ok\n")
    assert client.rest() == b""


@pytest.mark.parametrize("client", [{"request": TIMED}], indirect=True)
def test_each_request_has_its_own_deadline(client: Client) -> None:
    started = time.monotonic()
    while time.monotonic() < started + 1.25 * TIMED:
        for piece in (REVIEW[:9], REVIEW[9:200], REVIEW[200:]):
            client.send(piece)
        assert client.answer()[0] == 200


@pytest.mark.parametrize("before", [b"", b"GET /healthz HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n"])
def test_long_head_is_cut_off(client: Client, before: bytes) -> None:
    """A head is limited too if it follows a body that the answer did not wait for."""
    if before:
        client.send(before)
        assert client.answer() == (200, b"ok\n")
        client.send(b"{}")
    client.send(b"POST /validate HTTP/1.1\r\nx: ")
    assert seconds_until_cut_off(client, b"y" * HEAD_MAX) < 5


@SHORT_REQUEST
def test_connection_survives_an_unread_body(client: Client) -> None:
    client.send(b"GET /healthz HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}")
    assert client.answer() == (200, b"ok\n")
    client.send(REVIEW)
    assert client.answer()[0] == 200


def test_large_body_gets_413(client: Client) -> None:
    """The client reads the answer even if it sends the whole body first."""
    client.send(post("/validate", b" " * (BODY_MAX + 1)))
    assert client.answer()[0] == 413
    assert client.rest() == b""


def test_pipelined_requests_end_the_connection(client: Client) -> None:
    received = b""
    with contextlib.suppress(OSError):
        client.send(REVIEW * 1000)
        received = client.rest()
    assert received.count(b"HTTP/1.1 200") <= 1


def test_client_that_reads_no_answers_is_cut_off(mount: Mount, issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    deadlines(monkeypatch, request=SHORT)
    with served(mount) as port, Client(port, issuer.certificate, receives=4096) as client:
        assert seconds_until_cut_off(client, get("/metrics")) < LONG


IDLE = [("plain", b""), ("plain", b"\x16\x03\x01\x02\x00\x01"), ("tls", b""), ("tls", HEALTHZ)]


@pytest.mark.parametrize(("kind", "sent"), IDLE)
def test_new_connection_replaces_the_longest_idle(
    kind: str, sent: bytes, mount: Mount, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connections without TLS, in a handshake, without a request or after one are idle."""
    monkeypatch.setattr(connection_limiter, "CONNECTIONS_MAX", 3)
    deadlines(monkeypatch)
    with served(mount) as port, contextlib.ExitStack() as connections:
        for _ in range(2):
            if kind == "plain":
                connections.enter_context(socket.create_connection(("127.0.0.1", port))).sendall(sent)
            else:
                connections.enter_context(Client(port, issuer.certificate)).send(sent)
        recent = connections.enter_context(Client(port, issuer.certificate))
        for _ in range(2):
            with Client(port, issuer.certificate) as client:
                client.send(REVIEW)
                assert client.answer()[0] == 200
                recent.send(REVIEW)
                assert recent.answer()[0] == 200, "it was used last"


def test_requests_in_progress_are_not_idle(mount: Mount, issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new connection waits for them. It replaces the first that becomes idle."""
    monkeypatch.setattr(connection_limiter, "CONNECTIONS_MAX", 3)
    deadlines(monkeypatch)
    with served(mount) as port, contextlib.ExitStack() as connections:
        clients = [connections.enter_context(Client(port, issuer.certificate)) for _ in range(3)]
        for client in clients:
            client.send(REVIEW[:-1])
        time.sleep(SHORT)
        with pytest.raises(TimeoutError), Client(port, issuer.certificate, timeout=1):
            pass
        for client in clients[1:]:
            client.send(REVIEW[-1:])
            assert client.answer()[0] == 200
        with Client(port, issuer.certificate) as late:
            late.send(REVIEW)
            assert late.answer()[0] == 200
        clients[0].send(REVIEW[-1:])
        assert clients[0].answer()[0] == 200


def test_unfinished_requests_free_their_slots(mount: Mount, issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_limiter, "CONNECTIONS_MAX", 3)
    deadlines(monkeypatch, request=1)
    with served(mount) as port, contextlib.ExitStack() as connections:
        for _ in range(3):
            connections.enter_context(Client(port, issuer.certificate)).send(REVIEW[:-1])
        started = time.monotonic()
        with Client(port, issuer.certificate) as client:
            client.send(REVIEW)
            assert client.answer()[0] == 200
        assert 0.5 < time.monotonic() - started < 10


@pytest.mark.parametrize(
    "noise",
    [
        b"\x00\xff" * 50,
        b"POST /validate HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        b"POST /validate HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n1\r\n",
        b"POST /validate HTTP/1.1\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /validate HTTP/9.9\r\n\r\n",
    ],
)
def test_invalid_http_gets_400(client: Client, noise: bytes) -> None:
    client.send(noise)
    received = client.rest()
    assert received.startswith(b"HTTP/1.1 4")
    assert b"HTTP/1.1 5" not in received
