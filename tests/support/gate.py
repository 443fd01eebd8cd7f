"""An admission webhook of somebody's: it lets requests through, or keeps them waiting for as long as one likes."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Final, Self

from controller.objects.resources import Kind
from tests.localcluster.layout import Layout
from tests.localcluster.pki import Authority
from tests.localcluster.ports import LOOPBACK, free_port

if TYPE_CHECKING:
    from common.types import Json
    from tests.localcluster.cluster import Cluster
    from tests.support.kube import Kube

CONFIGURATION: Final = Kind(
    "admissionregistration.k8s.io/v1",
    "validatingwebhookconfigurations",
    "ValidatingWebhookConfiguration",
    namespaced=False,
)
LONGEST: Final = 30  # seconds: more no API server waits for a webhook


class Gate:
    """Lets all through until it is told to `hold`; what it holds is in `held`, as `operation resource name`."""

    def __init__(self, cluster: Cluster) -> None:
        layout = Layout(cluster.folder)
        identity = Authority(layout.ca).server("gate", [LOOPBACK], cluster.folder)
        self._bundle = base64.b64encode(layout.ca.certificate.read_bytes()).decode()
        self._lock = threading.Lock()
        self._open = threading.Event()
        self._open.set()
        self._free = 0
        self.held: list[str] = []
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(identity.certificate, identity.key)
        self._port = free_port()
        self._server = _Server((LOOPBACK, self._port), _handler(self))
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
        self._server.shutdown()
        self._server.server_close()

    def hold(self, after: int = 0) -> None:
        """Lets so many requests through and keeps all that follow waiting."""
        with self._lock:
            self._free, self.held = after, []
            self._open.clear()

    def release(self) -> None:
        """Lets everything through, what waits and what comes."""
        self._open.set()

    def stand_before(self, kube: Kube, name: str, rules: Json, *conditions: str) -> None:
        """Is asked about what matches the rules and all of these CEL expressions."""
        webhook = {
            "name": f"{name}.example.com",
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "failurePolicy": "Fail",
            "timeoutSeconds": LONGEST,
            "clientConfig": {"url": f"https://{LOOPBACK}:{self._port}/", "caBundle": self._bundle},
            "rules": [{"operations": ["*"], "scope": "*", **rules}],
            "matchConditions": [
                {"name": f"c{number}", "expression": expression} for number, expression in enumerate(conditions)
            ],
        }
        kube.create(CONFIGURATION, {"metadata": {"name": name}, "webhooks": [webhook]})

    def pass_through(self, asked: str) -> None:
        """Returns when that may go on."""
        with self._lock:
            if self._open.is_set():
                return
            if self._free > 0:
                self._free -= 1
                return
            self.held.append(asked)
        self._open.wait(2 * LONGEST)  # longer than whoever asked: where both gave up at once, it might go through


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Whoever is held may be killed meanwhile: no error of ours."""


def _handler(gate: Gate) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["request"]
            resource = "/".join(filter(None, (request["resource"]["resource"], request.get("subResource"))))
            gate.pass_through(f"{request['operation']} {resource} {request.get('name', '')}")
            response = {"uid": request["uid"], "allowed": True}
            answer = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}
            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """The terminal is pytest's."""

    return Handler
