"""How long the agent waits for an API server that falls silent, asked of a real TLS server."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from controller.settings import ControllerSettings
from hostess.kube.api_client import ANSWER, WATCH_SILENCE, Api, ApiError
from tests.unit.hostess.a_server import HEAD, Server, account_for, answering, document, dripping, without_threads

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator
    from pathlib import Path

QUICK = 0.5  # seconds for each step of an answer here, and
SILENCE = 3.0  # for a watch's silence
EVENT = b'{"type":"BOOKMARK","object":{}}\n'


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path) as server:
        yield server


@pytest.fixture
def api(server: Server, monkeypatch: pytest.MonkeyPatch) -> Api:
    monkeypatch.setattr("hostess.kube.api_client.ANSWER", QUICK)
    monkeypatch.setattr("hostess.kube.api_client.WATCH_SILENCE", SILENCE)
    return Api("127.0.0.1", server.port, account_for(server))


def given_up(ask: Callable[[], object]) -> float:
    """Seconds until an answer is given up."""
    began = time.monotonic()
    with pytest.raises(ApiError):
        ask()
    return time.monotonic() - began


def test_a_dead_watch_is_given_up_while_nodes_have_yet_to_be_cleaned() -> None:
    """Silence, then the steps until the list has told what is to be cleaned."""
    assert ControllerSettings.model_fields["node_cleanup_deadline"].default > WATCH_SILENCE + 2 * ANSWER


@pytest.mark.parametrize(
    "behave",
    [None, answering(b""), answering(HEAD[:30]), dripping()],
    ids=["no handshake", "no head", "half a head", "a head that drips"],
)
def test_a_watch_that_does_not_begin_is_given_up_as_any_other_answer(
    server: Server, api: Api, behave: Callable[[ssl.SSLSocket], None] | None
) -> None:
    server.behave = behave
    assert given_up(lambda: list(api.watch("/api/v1/services", {}))) < SILENCE


def test_a_watch_that_has_begun_may_be_silent_for_longer_but_not_for_ever(server: Server, api: Api) -> None:
    def slowly(client: ssl.SSLSocket) -> None:
        client.recv(4096)
        client.sendall(HEAD)
        time.sleep(2 * QUICK)
        client.sendall(EVENT)
        client.recv(4096)

    server.behave = slowly
    events = api.watch("/api/v1/services", {})
    assert next(events)["type"] == "BOOKMARK"
    began = time.monotonic()
    assert list(events) == []
    assert SILENCE - QUICK < time.monotonic() - began < SILENCE + 2


@pytest.mark.parametrize("behave", [dripping(), dripping(b" " * 4000, at_once=HEAD)], ids=["a head", "a body"])
def test_an_answer_that_drips_is_given_up_as_a_whole(
    server: Server, api: Api, behave: Callable[[ssl.SSLSocket], None]
) -> None:
    """Each byte begins the socket's own limit anew."""
    server.behave = behave
    assert given_up(lambda: api.get("/api/v1/services")) < SILENCE


def test_where_no_thread_can_be_started_the_request_has_failed(
    server: Server, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And its connection is closed, as on every other failure."""
    server.behave = document(b"{}")
    assert api.get("/api/v1/services") == {}
    monkeypatch.setattr(threading.Timer, "start", without_threads)
    with pytest.raises(ApiError, match="can't start new thread"):
        api.get("/api/v1/services")
