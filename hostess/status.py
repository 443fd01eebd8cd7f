"""GET /readyz: the verdict on this node, for the kubelet by its code and for the controller by its body.

GET /livez: whether anybody still looks at this node, whatever the verdict. The kubelet restarts an agent that does not,
which leaves the node as it is.
"""

from __future__ import annotations

import json
import socket
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final

from common.agent import ALIVE_PATH, STATUS_PATH, State

if TYPE_CHECKING:
    from collections.abc import Callable

    from hostess.verdict import Verdict

SILENCE: Final = 5.0  # seconds until a client that says nothing is let go


class Status(ThreadingHTTPServer):
    """Serves what `verdict` and `is_stuck` return at the moment of the question."""

    daemon_threads = True

    def __init__(self, port: int, node: str, verdict: Callable[[], Verdict], is_stuck: Callable[[], bool]) -> None:
        super().__init__(("", port), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = _listening(port)
        self.server_address = self.socket.getsockname()
        self.node, self.verdict, self.is_stuck = node, verdict, is_stuck

    def answer(self, path: str) -> tuple[int, bytes]:
        """Status code and body."""
        if path == ALIVE_PATH:
            return (503, b'{"alive": false}') if self.is_stuck() else (200, b'{"alive": true}')
        if path != STATUS_PATH:
            return 404, b'{"message": "ask /readyz"}'
        verdict = self.verdict()
        body = {
            "state": verdict.state.value,
            "reason": verdict.reason,
            "message": verdict.message,
            "node": self.node,
        }
        return 200 if verdict.state is State.CONFIGURED else 503, json.dumps(body).encode()


def _listening(port: int) -> socket.socket:
    """Both families, where there are both: the kubelet asks at the pod's first address, whichever that is."""
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("", port))


class _Handler(BaseHTTPRequestHandler):
    timeout = SILENCE
    server: Status

    def do_GET(self) -> None:
        code, body = self.server.answer(self.path)
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Probes are silent."""
