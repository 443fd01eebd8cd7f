"""Test probes of real TLS servers."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from hostess.health.probe import ANSWER_WITHIN, Probe, ProbeError
from tests.support.certificates import Issuer
from tests.unit.hostess.tls_server import BAD, GOOD, HEAD, HOST_NAME, Server, answering, dripping, without_threads

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

IP = "127.0.0.1"


@pytest.fixture
def probe(server: Server) -> Probe:
    return Probe(HOST_NAME, server.port)


def ask(probe: Probe, server: Server) -> None:
    probe.check(IP, server.issuer.certificate)


def test_each_probe_uses_a_new_connection(server: Server, probe: Probe) -> None:
    for _ in range(3):
        ask(probe, server)
    assert server.connections == 3


def test_refusing_mirror_fails(server: Server, probe: Probe) -> None:
    ask(probe, server)
    server.stop()
    with pytest.raises(ProbeError, match="refused"):
        ask(probe, server)
    server.start()
    ask(probe, server)


@pytest.mark.parametrize(
    "behave",
    [
        None,
        dripping(),
        answering(HEAD),
        answering(HEAD[:30]),
        answering(b"HTTP/1.1 200"),
        dripping(b"x" * 4000, pause=0.01, at_once=HEAD),
    ],
    ids=["no handshake", "a drip", "a head without its body", "half a head", "a status alone", "a fast drip"],
)
def test_unfinished_answer_times_out(
    server: Server, probe: Probe, behave: Callable[[ssl.SSLSocket], None] | None
) -> None:
    """http.client takes a cut connection for the end of an answer."""
    server.behave = behave
    began = time.monotonic()
    with pytest.raises(ProbeError, match="no answer within 2 s"):
        ask(probe, server)
    assert time.monotonic() - began < ANSWER_WITHIN + 3


@pytest.mark.parametrize(
    ("answer", "match"),
    [
        (BAD, "GET /v2/ was answered with 503"),
        (BAD.replace(b"503", b"401"), "GET /v2/ was answered with 401"),
        (GOOD.replace(b"200 OK", b"302 Found"), "GET /v2/ was answered with 302"),
        (b"SSH-2.0\r\n\r\n", "SSH-2.0"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nxx", "negative"),
    ],
    ids=["unavailable", "unauthorized", "redirect", "no HTTP", "negative chunk size"],
)
def test_wrong_answer_fails(server: Server, probe: Probe, answer: bytes, match: str) -> None:
    server.behave = answering(answer)
    with pytest.raises(ProbeError, match=match):
        ask(probe, server)
    server.behave = answering(GOOD)
    ask(probe, server)


def test_probe_without_thread_fails(server: Server, probe: Probe, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node may have no process ids left."""
    monkeypatch.setattr(threading.Timer, "start", without_threads)
    with pytest.raises(ProbeError, match="can't start new thread"):
        ask(probe, server)


def test_certificate_of_other_ca_fails(server: Server, probe: Probe) -> None:
    with pytest.raises(ProbeError, match="its certificate is not trusted"):
        probe.check(IP, Issuer("another").certificate)
    ask(probe, server)


def test_certificate_for_other_name_fails(server: Server) -> None:
    with pytest.raises(ProbeError, match=r"not trusted \(Hostname mismatch"):
        Probe("another.example.com", server.port).check(IP, server.issuer.certificate)


def test_rotated_ca_is_used_at_once(server: Server, probe: Probe) -> None:
    ask(probe, server)
    other = Issuer("the next")
    server.context = server.trusted_from(other)
    probe.check(IP, server.issuer.certificate + other.certificate)
    probe.check(IP, other.certificate)
    with pytest.raises(ProbeError):
        ask(probe, server)


def test_both_cas_of_a_bundle_are_trusted(server: Server, probe: Probe) -> None:
    """A rotation has both."""
    other = Issuer("another issuer")
    for bundle in (server.issuer.certificate + other.certificate, other.certificate + server.issuer.certificate):
        probe.check(IP, bundle)
    with pytest.raises(ProbeError, match="not trusted"):
        probe.check(IP, other.certificate)


@pytest.mark.parametrize("ca", [b"", b"\xff\xfe", b"no certificate", b"-----BEGIN CERTIFICATE-----\nAAAA"])
def test_invalid_ca_fails(server: Server, probe: Probe, ca: bytes) -> None:
    with pytest.raises(ProbeError):
        probe.check(IP, ca)
    ask(probe, server)


def test_ca_comments_in_any_language(server: Server, probe: Probe) -> None:
    probe.check(IP, "# größer\n".encode() + server.issuer.certificate)


def test_invalid_address_fails(probe: Probe, server: Server) -> None:
    with pytest.raises(ProbeError):
        probe.check("256.0.0.1", server.issuer.certificate)
