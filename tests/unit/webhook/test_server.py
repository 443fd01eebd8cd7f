"""The webhook as a TLS server, against clients that do not behave. Deadlines are shortened, not skipped."""

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
    from pathlib import Path

SHORT = 0.3  # seconds
TIMED = 4.0  # seconds: a machine that stalls does so for less
LONG = 60.0


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
def mount(tmp_path: Path, issuer: Issuer) -> Mount:
    mount = Mount(tmp_path / "tls")
    mount.hold_pair(issuer.issue())
    return mount


def deadlines(monkeypatch: pytest.MonkeyPatch, *, idle: float = LONG, request: float = LONG) -> None:
    monkeypatch.setattr(server, "IDLE_SECONDS", idle)
    monkeypatch.setattr(Protocol, "request_seconds", request)


def lasts_until_cut_off(client: Client, drop: bytes) -> float:
    """Seconds for which a client can go on sending the same few bytes."""
    started = time.monotonic()
    with contextlib.suppress(OSError):  # reset, broken pipe or TLS's own word for the end
        while time.monotonic() < started + LONG:
            client.send(drop)
            time.sleep(0.01)
    return time.monotonic() - started


def lasts_until_closed(client: Client) -> float:
    """Seconds until the server ends the connection, without a word."""
    started = time.monotonic()
    with contextlib.suppress(OSError):
        assert client.rest() == b""
    return time.monotonic() - started


def test_a_client_without_a_server_name_gets_the_certificate_too(mount: Mount, issuer: Issuer) -> None:
    serials = []
    with served(mount) as port:
        for host in (HOST, "127.0.0.1"):  # for an address, no name is sent
            with Client(port, issuer.certificate, host) as client:
                client.send(get("/readyz"))
                assert client.answer() == (200, b"ok\n")
                serials.append(client.serial)
    assert serials[0] == serials[1]


def test_tls_1_1_is_refused_by_the_server_and_1_2_is_not(mount: Mount) -> None:
    def handshake(version: ssl.TLSVersion) -> str | None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.set_ciphers("ALL:@SECLEVEL=0")  # or the client itself would not try
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
            context.minimum_version = version
            context.maximum_version = version
        with context.wrap_socket(socket.create_connection(("127.0.0.1", port))) as connection:
            return connection.version()

    with served(mount) as port:
        assert handshake(ssl.TLSVersion.TLSv1_2) == "TLSv1.2"
        with pytest.raises(ssl.SSLError, match=r"EOF occurred|alert protocol version"):  # hung up on, or told so
            handshake(ssl.TLSVersion.TLSv1_1)


def test_connections_that_never_speak_do_not_keep_others_waiting(mount: Mount, issuer: Issuer) -> None:
    with served(mount) as port:
        silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(200)]
        with Client(port, issuer.certificate) as client:
            client.send(post("/validate", a_review().body()))
            assert client.answer()[0] == 200
        for connection in silent:
            connection.close()


def test_a_connection_that_says_nothing_after_its_handshake_is_closed_when_it_was_idle_too_long(
    mount: Mount, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    deadlines(monkeypatch, idle=SHORT)
    with served(mount) as port, Client(port, issuer.certificate) as client:
        assert client.rest() == b""


def test_a_connection_may_be_idle_between_two_reviews_until_then(
    mount: Mount, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    deadlines(monkeypatch, idle=SHORT)
    with served(mount) as port, Client(port, issuer.certificate) as client:
        for _ in range(2):
            client.send(get("/healthz"))
            assert client.answer() == (200, b"ok\n")
        assert client.rest() == b""


@pytest.mark.parametrize("first", [b"", get("/healthz")])
def test_a_head_that_does_not_end_is_cut_off_however_lively_it_drips(
    first: bytes, mount: Mount, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    deadlines(monkeypatch, request=SHORT)
    with served(mount) as port, Client(port, issuer.certificate) as client:
        if first:
            client.send(first)
            assert client.answer() == (200, b"ok\n")
        client.send(b"POST /validate HTTP/1.1\r\n")
        assert lasts_until_cut_off(client, b"x: y\r\n") < 5


def test_a_head_without_end_is_cut_off_by_its_length(mount: Mount, issuer: Issuer) -> None:
    with served(mount) as port, Client(port, issuer.certificate) as client:
        client.send(b"POST /validate HTTP/1.1\r\nx: ")
        assert lasts_until_cut_off(client, b"y" * HEAD_MAX) < 5


def test_a_body_that_does_not_come_is_cut_off(mount: Mount, issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    deadlines(monkeypatch, request=SHORT)
    with served(mount) as port, Client(port, issuer.certificate) as client:
        client.send(post("/validate", a_review().body())[:-1])
        assert lasts_until_closed(client) < 5


def test_a_body_that_drips_is_cut_off_too(mount: Mount, issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    deadlines(monkeypatch, request=SHORT)
    with served(mount) as port, Client(port, issuer.certificate) as client:
        client.send(post("/validate", b" " * BODY_MAX)[: -BODY_MAX + 100])
        assert lasts_until_cut_off(client, b" ") < 5


def test_a_review_in_pieces_is_answered_and_its_clock_stopped(
    mount: Mount, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    deadlines(monkeypatch, request=TIMED)
    with served(mount) as port, Client(port, issuer.certificate) as client:
        request, started = post("/validate", a_review().body()), time.monotonic()
        while time.monotonic() < started + 1.25 * TIMED:  # for longer than one request may take
            for piece in (request[:9], request[9:200], request[200:]):
                client.send(piece)
            assert client.answer()[0] == 200


BEGUN = post("/validate", b"{}")


@pytest.mark.parametrize("begun", [BEGUN[:9], BEGUN[:-1]])
def test_a_request_that_begins_behind_a_whole_one_is_cut_off_where_it_does_not_end(
    begun: bytes, mount: Mount, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    deadlines(monkeypatch, request=SHORT)
    with served(mount) as port, Client(port, issuer.certificate) as client:
        client.send(get("/healthz") + begun)
        assert client.answer() == (200, b"ok\n")
        assert lasts_until_closed(client) < 5


def test_connections_with_such_requests_give_way_to_a_fresh_one(
    mount: Mount, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_limiter, "CONNECTIONS_MAX", 3)
    with served(mount) as port, contextlib.ExitStack() as clients:
        for _ in range(4):  # of which the last finds no room but what is made for it
            client = clients.enter_context(Client(port, issuer.certificate))
            client.send(get("/healthz") + BEGUN[:-1])
            assert client.answer() == (200, b"ok\n")


def test_requests_that_each_come_with_the_beginning_of_the_next_are_timed_each_for_itself(
    mount: Mount, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    deadlines(monkeypatch, request=TIMED)
    with served(mount) as port, Client(port, issuer.certificate) as client:
        request, started = post("/validate", a_review().body()), time.monotonic()
        client.send(request[:9])
        while time.monotonic() < started + 1.25 * TIMED:  # for longer than one request may take
            client.send(request[9:] + request[:9])
            assert client.answer()[0] == 200


def test_a_head_is_not_cut_off_for_the_length_of_the_body_before_it(
    mount: Mount, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "HEAD_MAX", 8000)  # so that such a body comes in one record of TLS
    monkeypatch.setattr(server, "PIECE", 2000)
    large, usual = post("/validate", a_review().body() + b" " * 12_000), post("/validate", a_review().body())
    with served(mount) as port, Client(port, issuer.certificate) as client:
        client.send(large + usual[:9])
        assert client.answer()[0] == 200
        client.send(usual[9:])
        assert client.answer()[0] == 200


def test_a_head_without_end_is_cut_off_by_its_length_behind_a_body_that_nobody_waited_for_too(
    mount: Mount, issuer: Issuer
) -> None:
    with served(mount) as port, Client(port, issuer.certificate) as client:
        client.send(b"GET /healthz HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n")
        assert client.answer() == (200, b"ok\n")
        client.send(b"{}POST /validate HTTP/1.1\r\nx: ")
        assert lasts_until_cut_off(client, b"y" * HEAD_MAX) < 5


def test_a_body_cut_by_its_sender_harms_nobody(mount: Mount, issuer: Issuer) -> None:
    with served(mount) as port:
        with Client(port, issuer.certificate) as client:
            client.send(post("/validate", a_review().body())[:-1])
        with Client(port, issuer.certificate) as client:
            client.send(get("/healthz"))
            assert client.answer() == (200, b"ok\n")


def test_a_body_that_is_too_large_gets_413_even_by_a_client_that_sends_it_all_first(
    mount: Mount, issuer: Issuer
) -> None:
    with served(mount) as port, Client(port, issuer.certificate) as client:
        client.send(post("/validate", b" " * (BODY_MAX + 1)))
        assert client.answer()[0] == 413
        assert client.rest() == b""


def test_reviews_sent_one_after_the_other_without_waiting_are_answered_in_their_order(
    mount: Mount, issuer: Issuer
) -> None:
    uids = [f"review-{number}" for number in range(20)]
    with served(mount) as port, Client(port, issuer.certificate) as client:
        client.send(b"".join(post("/validate", a_review().having(uid=uid).body()) for uid in uids))
        client.send(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        received = client.rest().decode()
    assert received.count("HTTP/1.1 200 OK") == len(uids) + 1
    assert sorted(uids, key=received.index) == uids


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
def test_what_is_no_http_gets_400_and_the_connection_ends(noise: bytes, mount: Mount, issuer: Issuer) -> None:
    with served(mount) as port, Client(port, issuer.certificate) as client:
        client.send(noise)
        received = client.rest()
    assert received.startswith(b"HTTP/1.1 4")
    assert b"HTTP/1.1 5" not in received
