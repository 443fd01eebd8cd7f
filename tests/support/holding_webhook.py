"""Run an admission webhook that allows all requests, and holds them back on demand."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Final, Self

from controller.objects.resources import Kind
from tests.localcluster.layout import Layout
from tests.localcluster.pki import CertificateAuthority
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
LONGEST: Final = 30  # seconds; the API server waits no longer for a webhook


class HoldingWebhook:
    """Allow requests; after `hold`, keep them waiting. `held` lists them as `operation resource name`."""

    def __init__(self, cluster: Cluster) -> None:
        layout = Layout(cluster.folder)
        identity = CertificateAuthority(layout.ca).server("holding-webhook", [LOOPBACK], cluster.folder)
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
        """Allow `after` more requests and hold all others."""
        with self._lock:
            self._free, self.held = after, []
            self._open.clear()

    def release(self) -> None:
        """Allow all requests, also those held."""
        self._open.set()

    def register(self, kube: Kube, name: str, rules: Json, *conditions: str) -> None:
        """Register for requests that match the rules and all CEL expressions."""
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

    def wait(self, request: str) -> None:
        """Return once the request may be allowed."""
        with self._lock:
            if self._open.is_set():
                return
            if self._free > 0:
                self._free -= 1
                return
            self.held.append(request)
        self._open.wait(2 * LONGEST)  # longer than the API server, which rejects the request first


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Ignore clients that were killed while held."""


def _handler(webhook: HoldingWebhook) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["request"]
            resource = "/".join(filter(None, (request["resource"]["resource"], request.get("subResource"))))
            webhook.wait(f"{request['operation']} {resource} {request.get('name', '')}")
            response = {"uid": request["uid"], "allowed": True}
            review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}
            body = json.dumps(review).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    return Handler
