"""Test that a reflector survives invalid answers."""

from __future__ import annotations

import io
import threading
from typing import TYPE_CHECKING, Any

import pytest

from hostess.json_log import Log
from hostess.kube.api_client import ApiClient
from hostess.kube.mirror_endpoints import MirrorEndpoints, parse_endpoints
from hostess.kube.watcher import Reflector
from tests.support.kube import until
from tests.unit.hostess.tls_server import Server, account_for, document

if TYPE_CHECKING:
    from pathlib import Path

LIST = b'{"metadata":{"resourceVersion":"1"},"items":[%b]}'
NOTHING = LIST % b""
SERVICE = LIST % b'{"metadata":{"name":"one"},"spec":{"clusterIPs":["10.96.0.7"]}}'


@pytest.mark.parametrize(
    "answers",
    [
        (NOTHING, b'{"type":"ERROR","object":"internal error"}\n'),
        (NOTHING, b'{"type":"ERROR","object":[]}\n'),
        (NOTHING, b'{"type":"ADDED","object":{"metadata":"x"}}\n'),
        (NOTHING, b"[]\n"),
        (LIST % b'{"metadata":{"name":"one"},"spec":"x"}', b""),
        (b"[" * 5000, b""),
        (b"", b""),
    ],
    ids=["error that is text", "error that is a list", "metadata", "event", "spec", "depth", "nothing"],
)
def test_reflector_survives_invalid_answers(tmp_path: Path, answers: tuple[bytes, bytes]) -> None:
    told: list[MirrorEndpoints] = []
    stopping, log = threading.Event(), io.StringIO()

    def publish(objects: list[Any]) -> None:
        told.append(parse_endpoints(objects, None))

    with Server(tmp_path) as server:
        server.behave = document(*answers)
        api = ApiClient("127.0.0.1", server.port, account_for(server))
        follower = Reflector(api, "/api/v1/services", {}, publish, Log(log), stopping)
        thread = threading.Thread(target=follower.run)
        thread.start()
        try:
            until(lambda: "api server unreachable" in log.getvalue() or not thread.is_alive(), why="it is told")
            server.behave = document(SERVICE)
            until(lambda: MirrorEndpoints(("10.96.0.7",)) in told or not thread.is_alive(), why="it goes on")
            assert thread.is_alive()
        finally:
            stopping.set()
            thread.join()
