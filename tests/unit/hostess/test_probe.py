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
    from collections.abc import Callable, Iterator
    from pathlib import Path

IP = "127.0.0.1"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path) as server:
        yield server


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


def test_hung_handshake_times_out(server: Server, probe: Probe) -> None:
    server.behave = None
    began = time.monotonic()
    with pytest.raises(ProbeError, match="no answer within 2 s"):
        ask(probe, server)
    assert time.monotonic() - began < ANSWER_WITHIN + 3


def test_dripping_answer_times_out(server: Server, probe: Probe) -> None:
    server.behave = dripping()
    began = time.monotonic()
    with pytest.raises(ProbeError):
        ask(probe, server)
    assert time.monotonic() - began < ANSWER_WITHIN + 3


@pytest.mark.parametrize(
    "behave",
    [
        answering(HEAD),
        answering(HEAD[:30]),
        answering(b"HTTP/1.1 200"),
        dripping(b"x" * 4000, pause=0.01, at_once=HEAD),
    ],
    ids=["a head without its body", "half a head", "a status alone", "a fast drip"],
)
def test_unfinished_answer_times_out(server: Server, probe: Probe, behave: Callable[[ssl.SSLSocket], None]) -> None:
    """http.client takes a cut connection for the end of an answer."""
    server.behave = behave
    with pytest.raises(ProbeError, match="no answer within 2 s"):
        ask(probe, server)


@pytest.mark.parametrize("answer", [BAD, BAD.replace(b"503", b"401"), GOOD.replace(b"200 OK", b"302 Found")])
def test_other_status_codes_fail(server: Server, probe: Probe, answer: bytes) -> None:
    server.behave = answering(answer)
    with pytest.raises(ProbeError, match="GET /v2/ was answered with"):
        ask(probe, server)
    server.behave = answering(GOOD)
    ask(probe, server)


def test_other_protocol_fails(server: Server, probe: Probe) -> None:
    server.behave = answering(b"SSH-2.0\r\n\r\n")
    with pytest.raises(ProbeError):
        ask(probe, server)


def test_negative_chunk_size_fails(server: Server, probe: Probe) -> None:
    server.behave = answering(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nxx")
    with pytest.raises(ProbeError):
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
