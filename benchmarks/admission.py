"""What the webhook reaches by itself: reviews a second over TLS, the time of a start, memory. No API server.

`python -m benchmarks.admission` prints it; `measure()` gives it to whoever makes a table of it.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import ssl
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import uvloop

from tests.support.certificates import Issuer, Mount

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
CLIENTS = 8  # as the peers were measured
SECONDS = 5.0
STARTS = 5
_HEAD = b"POST %b HTTP/1.1\r\nhost: webhook\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"


@dataclass(frozen=True)
class Load:
    """What one path did under the load of CLIENTS that each post one review after the other."""

    reviews_per_second: float
    cpu_milliseconds: float  # of the webhook's process, a review
    p50_milliseconds: float
    p99_milliseconds: float


@dataclass(frozen=True)
class Admission:
    """All of it. `cold_start` is the median of STARTS, from the start of the process to its first answered probe."""

    validate: Load
    mutate: Load
    cold_start_milliseconds: float
    resident_mib_at_start: float
    resident_mib_after_load: float


def measure(seconds: float = SECONDS) -> Admission:
    """Starts the webhook some times, then posts reviews to one of them for that long a path."""
    with TemporaryDirectory() as folder:
        mount = Mount(Path(folder) / "tls")
        mount.hold_pair(Issuer().issue())
        starts = [_start_time(mount) for _ in range(STARTS)]
        with _webhook(mount) as (process, port):
            _wait(port)
            at_start = _resident(process.pid)
            loads = {path: _load(process.pid, port, path, seconds) for path in ("/validate", "/mutate")}
            return Admission(loads["/validate"], loads["/mutate"], median(starts), at_start, _resident(process.pid))


def a_review(spec: dict[str, Any]) -> bytes:
    """A review of a creation as the API server sends it."""
    mirror = {
        "apiVersion": "k8s.osp.tech/v1",
        "kind": "RegistryMirror",
        "metadata": {
            "name": "docker",
            "uid": "b8d7b1a3-8c1c-4b66-9f6c-0f2b8a1d6d0e",
            "generation": 1,
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {"app": "docker-registry", "mirror": "docker"},
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": json.dumps({"spec": spec})},
            "managedFields": [
                {
                    "manager": "kubectl-client-side-apply",
                    "operation": "Update",
                    "apiVersion": "k8s.osp.tech/v1",
                    "time": "2026-01-01T00:00:00Z",
                    "fieldsType": "FieldsV1",
                    "fieldsV1": {"f:metadata": {"f:annotations": {".": {}}}, "f:spec": {".": {}, "f:upstreamUrl": {}}},
                }
            ],
        },
        "spec": spec,
    }
    request = {
        "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
        "kind": {"group": "k8s.osp.tech", "version": "v1", "kind": "RegistryMirror"},
        "resource": {"group": "k8s.osp.tech", "version": "v1", "resource": "registrymirrors"},
        "requestKind": {"group": "k8s.osp.tech", "version": "v1", "kind": "RegistryMirror"},
        "requestResource": {"group": "k8s.osp.tech", "version": "v1", "resource": "registrymirrors"},
        "name": "docker",
        "operation": "CREATE",
        "userInfo": {"username": "admin", "groups": ["system:masters", "system:authenticated"]},
        "object": mirror,
        "oldObject": None,
        "dryRun": False,
        "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
    }
    return json.dumps({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request}).encode()


def _spec(path: str) -> dict[str, Any]:
    """What arrives at each path: at /mutate without defaults, at /validate with them."""
    if path == "/mutate":
        return {"upstreamUrl": "quay.io"}
    claim = {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "20Gi"}}}}
    return {"upstreamUrl": "quay.io", "replicas": 2, "ttl": "168h", "volumeClaimTemplate": claim}


@contextmanager
def _webhook(mount: Mount) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {
        "WEBHOOK_HOST": "127.0.0.1",
        "WEBHOOK_PORT": str(port),
        "TLS_CERT_FILE": str(mount.certificate_file),
        "TLS_KEY_FILE": str(mount.key_file),
    }
    command = [sys.executable, "-m", "webhook"]
    with subprocess.Popen(command, cwd=ROOT, env=os.environ | settings, stdout=subprocess.DEVNULL) as process:
        try:
            yield process, port
        finally:
            process.terminate()


def _start_time(mount: Mount) -> float:
    started = time.perf_counter()
    with _webhook(mount) as (_, port):
        _wait(port)
        return (time.perf_counter() - started) * 1000


def _wait(port: int) -> None:
    """Until a probe is answered."""
    deadline = time.monotonic() + 10
    while True:
        try:
            with _trusting_all().wrap_socket(socket.create_connection(("127.0.0.1", port))) as connection:
                connection.sendall(b"GET /readyz HTTP/1.1\r\nhost: webhook\r\n\r\n")
                if connection.recv(4096).startswith(b"HTTP/1.1 200"):
                    return
        except OSError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.002)


def _trusting_all() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _load(pid: int, port: int, path: str, seconds: float) -> Load:
    """Clients in a process of their own, so that they take the other core."""
    before = _cpu_seconds(pid)
    command = [sys.executable, "-m", "benchmarks.admission", "clients", str(port), path, str(seconds)]
    told = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout
    count, p50, p99 = json.loads(told)
    return Load(count / seconds, (_cpu_seconds(pid) - before) / count * 1000, p50 * 1000, p99 * 1000)


class _Client(asyncio.Protocol):
    """Posts a review as soon as the one before it is answered. Answers are alike, so the first tells their length."""

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
            assert head.startswith(b"HTTP/1.1 200"), self._received  # noqa: S101 (an error would be counted as fast)
            self._length = len(head) + 4 + int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        if self._length and len(self._received) >= self._length:
            self._times.append(time.perf_counter() - self._sent)
            self._received = b""
            self._post()

    def _post(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(self._request)


async def _clients(port: int, path: str, seconds: float) -> list[float]:
    body = a_review(_spec(path))
    times: list[float] = []
    loop = asyncio.get_running_loop()
    for _ in range(CLIENTS):
        request = _HEAD % (path.encode(), len(body), body)
        await loop.create_connection(lambda: _Client(request, times), "127.0.0.1", port, ssl=_trusting_all())  # noqa: B023
    await asyncio.sleep(seconds)
    return times


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident(pid: int) -> float:
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def main() -> None:
    """Prints the figures, or is the clients' process."""
    if sys.argv[1:2] == ["clients"]:
        times = sorted(uvloop.run(_clients(int(sys.argv[2]), sys.argv[3], float(sys.argv[4]))))
        print(json.dumps([len(times), times[len(times) // 2], times[len(times) * 99 // 100]]))
        return
    figures = measure()
    print(
        f"starts in {figures.cold_start_milliseconds:.0f} ms, {figures.resident_mib_at_start:.0f} MiB resident", end=""
    )
    print(f" ({figures.resident_mib_after_load:.0f} after the load)")
    for path, load in (("/validate", figures.validate), ("/mutate", figures.mutate)):
        print(
            f"{path:10} {load.reviews_per_second:6.0f} reviews/s  {load.cpu_milliseconds:.3f} ms CPU a review"
            f"  p50 {load.p50_milliseconds:.2f} ms  p99 {load.p99_milliseconds:.2f} ms"
        )


if __name__ == "__main__":
    main()
