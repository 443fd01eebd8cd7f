"""Test the time limits of requests on a real TLS server."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from controller.settings import ControllerSettings
from hostess.kube.api_client import ANSWER, WATCH_SILENCE, ApiClient, ApiError
from tests.unit.hostess.tls_server import HEAD, Server, account_for, answering, document, dripping, without_threads

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

QUICK = 0.5  # seconds for each step of an answer
SILENCE = 3.0  # seconds of silence of a watch
EVENT = b'{"type":"BOOKMARK","object":{}}\n'


@pytest.fixture
def api(server: Server, monkeypatch: pytest.MonkeyPatch) -> ApiClient:
    monkeypatch.setattr("hostess.kube.api_client.ANSWER", QUICK)
    monkeypatch.setattr("hostess.kube.api_client.WATCH_SILENCE", SILENCE)
    return ApiClient("127.0.0.1", server.port, account_for(server))


def seconds_until_failure(ask: Callable[[], object]) -> float:
    """Return the seconds until a request fails."""
    began = time.monotonic()
    with pytest.raises(ApiError):
        ask()
    return time.monotonic() - began


def test_watch_silence_is_below_cleanup_deadline() -> None:
    """After the silence the agent needs two more answers."""
    assert ControllerSettings.model_fields["node_cleanup_deadline"].default > WATCH_SILENCE + 2 * ANSWER


@pytest.mark.parametrize(
    "behave",
    [None, answering(b""), answering(HEAD[:30]), dripping()],
    ids=["no handshake", "no head", "half a head", "a head that drips"],
)
def test_watch_without_head_times_out(
    server: Server, api: ApiClient, behave: Callable[[ssl.SSLSocket], None] | None
) -> None:
    server.behave = behave
    assert seconds_until_failure(lambda: list(api.watch("/api/v1/services", {}))) < SILENCE


def test_silent_watch_ends(server: Server, api: ApiClient) -> None:
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
def test_dripping_answer_times_out(server: Server, api: ApiClient, behave: Callable[[ssl.SSLSocket], None]) -> None:
    """Each byte restarts the socket's own time-out."""
    server.behave = behave
    assert seconds_until_failure(lambda: api.get("/api/v1/services")) < SILENCE


def test_request_without_thread_fails(server: Server, api: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    server.behave = document(b"{}")
    assert api.get("/api/v1/services") == {}
    monkeypatch.setattr(threading.Timer, "start", without_threads)
    with pytest.raises(ApiError, match="can't start new thread"):
        api.get("/api/v1/services")
