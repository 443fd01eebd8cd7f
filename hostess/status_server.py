"""GET /readyz: the verdict on this node, for the kubelet by its code and for the controller by its body.

GET /livez: whether anybody still looks at this node, whatever the verdict. The kubelet restarts an agent that does not,
which leaves the node as it is.
"""

from __future__ import annotations

import json
import socket
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final

from common.agent_protocol import ALIVE_PATH, STATUS_PATH, State

if TYPE_CHECKING:
    from collections.abc import Callable

    from hostess.node_state import NodeState

# Seconds from a connection's first moment to its last. A question and its answer are some hundred bytes each, from the
# kubelet on this node or the controller, which waits for two seconds.
REQUEST_SECONDS: Final = 5.0
# Connections at a time, each with a thread and some 27 KB: four megabytes of the agent's 128. The kubelet has two, the
# controller hardly ever more than one.
CONNECTIONS_MAX: Final = 128


class Status(ThreadingHTTPServer):
    """Serves what `verdict` and `is_stuck` return at the moment of the question."""

    daemon_threads = True

    def __init__(self, port: int, node: str, verdict: Callable[[], NodeState], is_stuck: Callable[[], bool]) -> None:
        super().__init__(("", port), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = _listening(port)
        self.server_address = self.socket.getsockname()
        self.node, self.verdict, self.is_stuck = node, verdict, is_stuck
        self._open: dict[Any, float] = {}  # connections, since when, the oldest first

    def process_request(self, request: Any, client_address: Any) -> None:
        """Takes another connection; where it is one too many the oldest goes, as one that asks is soon answered."""
        if len(self._open) >= CONNECTIONS_MAX:
            self._end_oldest()
        self._open[request] = time.monotonic()
        super().process_request(request, client_address)

    def service_actions(self) -> None:
        """Ends what has been open for too long, however much it says: a deadline for each byte is none for all."""
        while any(time.monotonic() - began > REQUEST_SECONDS for began in list(self._open.values())[:1]):
            self._end_oldest()

    def shutdown_request(self, request: Any) -> None:
        """Forgets a connection that has ended."""
        self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, *_: Any) -> None:
        """Whoever is ended, or ends in the middle of an answer, is no concern of ours."""

    def _end_oldest(self) -> None:
        for oldest in list(self._open)[:1]:  # a copy in one step, as threads take theirs out meanwhile
            self._open.pop(oldest, None)
            with suppress(OSError):  # its thread has just ended it
                oldest.shutdown(socket.SHUT_RDWR)  # which its thread takes for the other side's end

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
    timeout = REQUEST_SECONDS
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
