"""Test the answers for kubelet and controller over HTTP."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from typing import TYPE_CHECKING

import httpx
import pytest

from common.agent_protocol import State
from hostess import status_server
from hostess.node_state import NodeState
from hostess.status_server import CONNECTIONS_MAX, StatusServer

if TYPE_CHECKING:
    from collections.abc import Iterator


class Served:
    """Running server of a state that the test sets."""

    def __init__(self) -> None:
        self.state = NodeState(State.PENDING, "Starting", "The agent has just started.")
        self.stuck = False
        self.status = StatusServer(0, "node-1", lambda: self.state, lambda: self.stuck, lambda: "up 1\n")
        self.port = self.status.server_address[1]
        self.thread = threading.Thread(target=self.status.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    def get(self, path: str = "/readyz", host: str = "127.0.0.1") -> httpx.Response:
        """Return an answer."""
        return httpx.get(f"http://{host}:{self.port}{path}", trust_env=False)

    def stop(self) -> None:
        """End the server."""
        self.status.shutdown()
        self.status.server_close()
        self.thread.join()


@pytest.fixture
def served() -> Iterator[Served]:
    served = Served()
    yield served
    served.stop()


@pytest.mark.parametrize("state", State)
def test_only_configured_is_ready(served: Served, state: State) -> None:
    served.state = NodeState(state, "Why", "A sentence.")
    answer = served.get()
    assert answer.status_code == (200 if state is State.CONFIGURED else 503)
    assert answer.json() == {"state": state.value, "reason": "Why", "message": "A sentence.", "node": "node-1"}
    assert answer.headers["content-type"] == "application/json"


def test_metrics_are_served_as_text(served: Served) -> None:
    answer = served.get("/metrics")
    assert (answer.status_code, answer.text) == (200, "up 1\n")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"


@pytest.mark.parametrize("state", State)
def test_only_stuck_agent_is_not_alive(served: Served, state: State) -> None:
    served.state = NodeState(state, "Why", "A sentence.")
    assert served.get("/livez").status_code == 200
    served.stuck = True
    assert served.get("/livez").status_code == 503


def test_other_paths_are_not_found(served: Served) -> None:
    assert served.get("/").status_code == 404


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
def test_ipv6_address_is_served(served: Served) -> None:
    assert served.get(host="[::1]").status_code == 503


def test_silent_client_blocks_no_other(served: Served) -> None:
    with socket.create_connection(("127.0.0.1", served.port)):
        assert json.loads(served.get().content)["reason"] == "Starting"


def test_dripping_client_is_closed(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status_server, "REQUEST_SECONDS", 0.5)
    with socket.create_connection(("127.0.0.1", served.port)) as slow:
        began = time.monotonic()
        with contextlib.suppress(ConnectionError):
            while time.monotonic() - began < 20:
                slow.sendall(b"G")
                time.sleep(0.1)  # the client is this slow
        assert time.monotonic() - began < 10


def test_silent_clients_take_bounded_threads(served: Served) -> None:
    before, silent = threading.active_count(), list[socket.socket]()
    for _ in range(3 * CONNECTIONS_MAX):
        silent.append(socket.create_connection(("127.0.0.1", served.port)))
    assert served.get().json()["reason"] == "Starting"
    assert served.get("/livez").status_code == 200
    deadline = time.monotonic() + 4  # less than REQUEST_SECONDS
    while threading.active_count() - before > CONNECTIONS_MAX and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() - before <= CONNECTIONS_MAX
    for each in silent:
        each.close()
