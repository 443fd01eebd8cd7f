"""Test that a mirror counts as removed only if the cluster removes it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from hostess.kube import removal
from hostess.kube.api_client import ApiClient
from hostess.kube.removal import removal_reason
from tests.unit.hostess.node_files import NodeFiles
from tests.unit.hostess.tls_server import Server, account_for, dripping

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

Answer = tuple[int, bytes]
SERVICE = 200, b'{"items":[{"metadata":{"name":"registry-mirror-one"}}]}'
TERMINATING_SERVICE = 200, b'{"items":[{"metadata":{"deletionTimestamp":"2026-01-01T00:00:00Z"}}]}'
NO_SERVICE = 200, b'{"items":[]}'
NAMESPACE = 200, b'{"metadata":{"name":"registry-mirror"}}'
TERMINATING = 200, b'{"metadata":{"deletionTimestamp":"2026-01-01T00:00:00Z"}}'
NOT_JSON = 200, b"<html>"
UNAVAILABLE = 503, b"{}"
SILENT = 0, b""


def api_server(services: Answer, namespace: Answer) -> Callable[[ssl.SSLSocket], None]:
    """Answer a list of Services and a read of the Namespace."""

    def answer(client: ssl.SSLSocket) -> None:
        code, body = services if b"/services?" in client.recv(4096) else namespace
        if not code:
            time.sleep(1.0)
            return
        client.sendall(b"HTTP/1.1 %d Status\r\nContent-Length: %d\r\n\r\n" % (code, len(body)) + body)

    return answer


def reason(server: Server, *, seen: bool = False) -> str:
    node = NodeFiles(server.folder / f"node-{time.monotonic_ns()}")
    return removal_reason(ApiClient("127.0.0.1", server.port, account_for(server)), node.settings(), seen=seen)


@pytest.mark.parametrize(
    ("services", "namespace", "expected"),
    [
        (SERVICE, NAMESPACE, ""),
        (NO_SERVICE, NAMESPACE, "Service deleted"),
        (TERMINATING_SERVICE, NAMESPACE, "Service deleted"),
        (SERVICE, TERMINATING, "Namespace terminating"),
        (SERVICE, (404, b"{}"), "404"),
        ((403, b"{}"), NAMESPACE, "403"),
        ((401, b"{}"), NAMESPACE, "401"),
        ((403, b"{}"), (403, b"{}"), "403"),
        (NO_SERVICE, (403, b"{}"), "Service deleted"),
        (UNAVAILABLE, TERMINATING, "Namespace terminating"),
    ],
)
def test_removal_is_read_from_the_cluster(server: Server, services: Answer, namespace: Answer, expected: str) -> None:
    server.behave = api_server(services, namespace)
    found = reason(server)
    assert expected in found
    assert bool(found) == bool(expected)


@pytest.mark.parametrize("namespace", [(401, b"{}"), (403, b"{}"), (500, b"{}"), NOT_JSON, SILENT])
def test_unknown_namespace_removes_nothing(server: Server, monkeypatch: pytest.MonkeyPatch, namespace: Answer) -> None:
    """A Role of an older release lacks the right to read the Namespace."""
    monkeypatch.setattr(removal, "DEADLINE", 0.5)
    server.behave = api_server(SERVICE, namespace)
    assert reason(server) == ""


def test_recreated_service_is_not_removed(server: Server) -> None:
    """The answer counts, not what the watch saw."""
    server.behave = api_server(SERVICE, NAMESPACE)
    assert reason(server, seen=True) == ""


@pytest.mark.parametrize(
    "behave", [api_server(UNAVAILABLE, NAMESPACE), api_server(NOT_JSON, NAMESPACE), dripping(), None]
)
def test_watch_decides_without_api_server(
    server: Server, monkeypatch: pytest.MonkeyPatch, behave: Callable[[ssl.SSLSocket], None] | None
) -> None:
    """An outage of the API server removes nothing, and takes no longer than the deadline."""
    monkeypatch.setattr(removal, "DEADLINE", 0.5)
    server.behave = behave
    began = time.monotonic()
    assert reason(server) == ""
    assert reason(server, seen=True) == "Service deleted"
    assert time.monotonic() - began < 3
