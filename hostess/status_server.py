"""Serve the node's state: GET /readyz for the kubelet (status code) and the controller (body), /metrics for Prometheus.

GET /livez fails if the agent's loop is stuck, so that the kubelet restarts the agent. The node stays as it is.
"""

from __future__ import annotations

import json
import socket
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final

from common.agent_protocol import ALIVE_PATH, METRICS_PATH, STATUS_PATH, State
from hostess.metrics import CONTENT_TYPE

if TYPE_CHECKING:
    from collections.abc import Callable

    from hostess.node_state import NodeState

# Seconds of a whole connection. Requests have some hundred bytes, and the controller waits for two seconds.
REQUEST_SECONDS: Final = 5.0
# Open connections, each with a thread and 27 KB: 4 MB of the agent's 128. Kubelet and controller need about three.
CONNECTIONS_MAX: Final = 128


JSON: Final = "application/json"


class StatusServer(ThreadingHTTPServer):
    """Server of the results of `state`, `is_stuck` and `metrics` at the time of each request."""

    daemon_threads = True

    def __init__(
        self,
        port: int,
        node: str,
        state: Callable[[], NodeState],
        is_stuck: Callable[[], bool],
        metrics: Callable[[], str],
    ) -> None:
        super().__init__(("", port), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = _listen(port)
        self.server_address = self.socket.getsockname()
        self.node, self.state, self.is_stuck, self.metrics = node, state, is_stuck, metrics
        self._open: dict[Any, float] = {}  # connection -> its start, the oldest first

    def process_request(self, request: Any, client_address: Any) -> None:
        """Accept a connection. Above CONNECTIONS_MAX the oldest is closed: live clients are answered soon."""
        if len(self._open) >= CONNECTIONS_MAX:
            self._close_oldest()
        self._open[request] = time.monotonic()
        super().process_request(request, client_address)

    def service_actions(self) -> None:
        """Close connections that are too old, however active they are."""
        while any(time.monotonic() - began > REQUEST_SECONDS for began in list(self._open.values())[:1]):
            self._close_oldest()

    def shutdown_request(self, request: Any) -> None:
        """Drop a closed connection."""
        self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, *_: Any) -> None:
        """Ignore clients that disconnect."""

    def _close_oldest(self) -> None:
        for oldest in list(self._open)[:1]:  # a copy, since threads remove theirs meanwhile
            self._open.pop(oldest, None)
            with suppress(OSError):  # its thread has just closed it
                oldest.shutdown(socket.SHUT_RDWR)  # its thread sees the end of the connection

    def respond(self, path: str) -> tuple[int, str, bytes]:
        """Return status code, media type and body."""
        if path == ALIVE_PATH:
            return (503, JSON, b'{"alive": false}') if self.is_stuck() else (200, JSON, b'{"alive": true}')
        if path == METRICS_PATH:
            return 200, CONTENT_TYPE, self.metrics().encode()
        if path != STATUS_PATH:
            return 404, JSON, b'{"message": "use /readyz"}'
        state = self.state()
        body = {
            "state": state.state.value,
            "reason": state.reason,
            "message": state.message,
            "node": self.node,
        }
        return 200 if state.state is State.CONFIGURED else 503, JSON, json.dumps(body).encode()


def _listen(port: int) -> socket.socket:
    """Listen on both IP families if the node has both: the kubelet uses the pod's first address."""
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("", port))


class _Handler(BaseHTTPRequestHandler):
    timeout = REQUEST_SECONDS
    server: StatusServer

    def do_GET(self) -> None:
        code, media_type, body = self.server.respond(self.path)
        self.send_response(code)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Log no requests."""
