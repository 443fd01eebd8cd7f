"""Whether a mirror answers, asked of real TLS servers."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from hostess.health.probe import ANSWER_WITHIN, NoAnswer, Probe
from tests.support.certificates import Issuer
from tests.unit.hostess.a_server import BAD, GOOD, HEAD, HOST_NAME, Server, answering, dripping, without_threads

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
    probe.ask(IP, server.issuer.certificate)


def test_each_question_is_asked_over_a_new_connection(server: Server, probe: Probe) -> None:
    for _ in range(3):
        ask(probe, server)
    assert server.connections == 3


def test_one_that_refuses_does_not_answer(server: Server, probe: Probe) -> None:
    ask(probe, server)
    server.stop()
    with pytest.raises(NoAnswer, match="refused"):
        ask(probe, server)
    server.start()
    ask(probe, server)


def test_one_that_hangs_after_accepting_is_given_up_soon(server: Server, probe: Probe) -> None:
    server.behave = None
    began = time.monotonic()
    with pytest.raises(NoAnswer, match="no answer within 2 s"):
        ask(probe, server)
    assert time.monotonic() - began < ANSWER_WITHIN + 3


def test_one_that_drips_a_byte_now_and_then_is_given_up_as_soon(server: Server, probe: Probe) -> None:
    server.behave = dripping()
    began = time.monotonic()
    with pytest.raises(NoAnswer):
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
def test_one_that_hangs_within_its_answer_has_not_answered(
    server: Server, probe: Probe, behave: Callable[[ssl.SSLSocket], None]
) -> None:
    """Where its connection is cut http.client takes what there is for the whole."""
    server.behave = behave
    with pytest.raises(NoAnswer, match="no answer within 2 s"):
        ask(probe, server)


@pytest.mark.parametrize("answer", [BAD, BAD.replace(b"503", b"401"), GOOD.replace(b"200 OK", b"302 Found")])
def test_any_other_status_is_no_answer(server: Server, probe: Probe, answer: bytes) -> None:
    server.behave = answering(answer)
    with pytest.raises(NoAnswer, match="GET /v2/ was answered with"):
        ask(probe, server)
    server.behave = answering(GOOD)
    ask(probe, server)


def test_what_is_no_http_is_no_answer(server: Server, probe: Probe) -> None:
    server.behave = answering(b"SSH-2.0\r\n\r\n")
    with pytest.raises(NoAnswer):
        ask(probe, server)


def test_a_chunk_of_a_negative_size_is_no_answer(server: Server, probe: Probe) -> None:
    server.behave = answering(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nxx")
    with pytest.raises(NoAnswer):
        ask(probe, server)


def test_where_no_thread_can_be_started_there_is_no_answer(
    server: Server, probe: Probe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a node without process ids: the agent goes on."""
    monkeypatch.setattr(threading.Timer, "start", without_threads)
    with pytest.raises(NoAnswer, match="can't start new thread"):
        ask(probe, server)


def test_a_certificate_of_somebody_else_is_not_trusted(server: Server, probe: Probe) -> None:
    with pytest.raises(NoAnswer, match="its certificate is not trusted"):
        probe.ask(IP, Issuer("another").certificate)
    ask(probe, server)


def test_a_certificate_for_another_name_is_not_trusted(server: Server) -> None:
    with pytest.raises(NoAnswer, match=r"not trusted \(Hostname mismatch"):
        Probe("another.example.com", server.port).ask(IP, server.issuer.certificate)


def test_a_rotated_authority_is_used_at_once(server: Server, probe: Probe) -> None:
    ask(probe, server)
    other = Issuer("the next")
    server.context = server.trusted_from(other)
    probe.ask(IP, server.issuer.certificate + other.certificate)
    probe.ask(IP, other.certificate)
    with pytest.raises(NoAnswer):
        ask(probe, server)


def test_of_two_authorities_in_one_file_either_is_trusted(server: Server, probe: Probe) -> None:
    """As while one follows on the other: the file is the whole bundle."""
    other = Issuer("another issuer")
    for bundle in (server.issuer.certificate + other.certificate, other.certificate + server.issuer.certificate):
        probe.ask(IP, bundle)
    with pytest.raises(NoAnswer, match="not trusted"):
        probe.ask(IP, other.certificate)


@pytest.mark.parametrize("authority", [b"", b"\xff\xfe", b"no certificate", b"-----BEGIN CERTIFICATE-----\nAAAA"])
def test_an_authority_that_is_none_is_told(server: Server, probe: Probe, authority: bytes) -> None:
    with pytest.raises(NoAnswer):
        probe.ask(IP, authority)
    ask(probe, server)


def test_comments_beside_an_authority_are_in_any_language(server: Server, probe: Probe) -> None:
    probe.ask(IP, "# größer\n".encode() + server.issuer.certificate)


def test_an_address_that_is_none_is_no_answer(probe: Probe, server: Server) -> None:
    with pytest.raises(NoAnswer):
        probe.ask("256.0.0.1", server.issuer.certificate)
