"""Post reviews to a webhook over TLS: `python -m benchmarks.review_clients PORT PATH SECONDS`.

The clients run in a process of their own, so that they use another core than the webhook.
Print the number of reviews, the median and the 99th percentile in seconds, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
import time
from typing import TYPE_CHECKING, Any, Final

import uvloop

if TYPE_CHECKING:
    from common.types import Json

CLIENTS: Final = 8  # as in the published measurements of the peers
_HEAD: Final = b"POST %b HTTP/1.1\r\nhost: webhook\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
_KIND: Final = {"group": "k8s.osp.tech", "version": "v1", "kind": "RegistryMirror"}
_RESOURCE: Final = {"group": "k8s.osp.tech", "version": "v1", "resource": "registrymirrors"}


def main() -> None:
    """Post reviews and print the figures."""
    port, path, seconds = sys.argv[1:]
    times = sorted(uvloop.run(_post_reviews(int(port), path, float(seconds))))
    print(json.dumps([len(times), times[len(times) // 2], times[len(times) * 99 // 100]]))


def trusting_all() -> ssl.SSLContext:
    """Return a client's TLS context that verifies nothing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def _post_reviews(port: int, path: str, seconds: float) -> list[float]:
    """Return the duration of each review in seconds."""
    body = json.dumps(_review(_spec(path))).encode()
    request = _HEAD % (path.encode(), len(body), body)
    times: list[float] = []
    loop = asyncio.get_running_loop()
    for _ in range(CLIENTS):
        await loop.create_connection(lambda: _Client(request, times), "127.0.0.1", port, ssl=trusting_all())
    await asyncio.sleep(seconds)
    return times


class _Client(asyncio.Protocol):
    """Post a review as soon as the previous one is answered. All answers have the length of the first."""

    def __init__(self, request: bytes, times: list[float]) -> None:
        self._request = request
        self._times = times
        self._sent = 0.0
        self._received = b""
        self._length = 0

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._post()

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._length and b"\r\n\r\n" in self._received:
            head, _, _ = self._received.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), self._received  # noqa: S101 (an error would count as fast)
            self._length = len(head) + 4 + int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        if self._length and len(self._received) >= self._length:
            self._times.append(time.perf_counter() - self._sent)
            self._received = b""
            self._post()

    def _post(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(self._request)


def _spec(path: str) -> Json:
    """Return the spec that the API server sends to a path: /mutate gets it without defaults."""
    if path == "/mutate":
        return {"upstreamUrl": "quay.io"}
    claim = {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "20Gi"}}}}
    return {"upstreamUrl": "quay.io", "replicas": 2, "ttl": "168h", "volumeClaimTemplate": claim}


def _review(spec: Json) -> Json:
    """Return a review of a creation, as the API server sends it."""
    request = {
        "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
        "kind": _KIND,
        "resource": _RESOURCE,
        "requestKind": _KIND,
        "requestResource": _RESOURCE,
        "name": "docker",
        "operation": "CREATE",
        "userInfo": {"username": "admin", "groups": ["system:masters", "system:authenticated"]},
        "object": _mirror(spec),
        "oldObject": None,
        "dryRun": False,
        "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
    }
    return {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request}


def _mirror(spec: Json) -> Json:
    """Return a RegistryMirror as `kubectl apply` creates it."""
    managed_fields = {
        "manager": "kubectl-client-side-apply",
        "operation": "Update",
        "apiVersion": "k8s.osp.tech/v1",
        "time": "2026-01-01T00:00:00Z",
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:metadata": {"f:annotations": {".": {}}}, "f:spec": {".": {}, "f:upstreamUrl": {}}},
    }
    metadata = {
        "name": "docker",
        "uid": "b8d7b1a3-8c1c-4b66-9f6c-0f2b8a1d6d0e",
        "generation": 1,
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "labels": {"app": "docker-registry", "mirror": "docker"},
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": json.dumps({"spec": spec})},
        "managedFields": [managed_fields],
    }
    return {"apiVersion": "k8s.osp.tech/v1", "kind": "RegistryMirror", "metadata": metadata, "spec": spec}


if __name__ == "__main__":
    main()
