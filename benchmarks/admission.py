"""Measure the webhook alone, without an API server: `python -m benchmarks.admission`.

Reviews per second over TLS, CPU per review beside a bare Starlette application, start time and memory.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from benchmarks.review_clients import trusting_all
from benchmarks.usage import cpu_seconds, resident_mib
from tests.support.certificates import Issuer, Mount

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT: Final = Path(__file__).parent.parent
SECONDS: Final = 5.0  # of load for each path
STARTS: Final = 5
# Turns of webhook and bare application. They alternate because the machine is not equally fast for long.
TURNS: Final = 6
TURN_SECONDS: Final = 2.0
START_TIMEOUT: Final = 10.0  # seconds
PATHS: Final = ("/validate", "/mutate")

Server = AbstractContextManager[tuple[int, int]]  # (process id, port)


@dataclass(frozen=True)
class Load:
    """Figures of one path while each client posts one review after the other."""

    reviews_per_second: float
    cpu_milliseconds: float  # of the server's process, per review
    p50_milliseconds: float
    p99_milliseconds: float


@dataclass(frozen=True)
class Comparison:
    """CPU per review of the webhook and of the bare application, in milliseconds, from alternating turns."""

    webhook: float
    bare: float

    @property
    def ratio(self) -> float:
        """Return the webhook's CPU as a multiple of the bare application's."""
        return self.webhook / self.bare


@dataclass(frozen=True)
class Admission:
    """All figures. The cold start is the median time from the start of the process to its first answered probe."""

    validate: Load
    mutate: Load
    validate_cpu: Comparison
    mutate_cpu: Comparison
    cold_start_milliseconds: float
    resident_mib_at_start: float
    resident_mib_after_load: float


def measure(seconds: float = SECONDS) -> Admission:
    """Measure the start, the load of each path for `seconds`, and the comparison."""
    with TemporaryDirectory() as folder:
        mount = Mount(Path(folder) / "tls")
        mount.hold_pair(Issuer().issue())
        starts = [_start_milliseconds(mount) for _ in range(STARTS)]
        with _webhook(mount) as (pid, port):
            at_start = resident_mib(pid)
            validate, mutate = (_load(pid, port, path, seconds) for path in PATHS)
            after_load = resident_mib(pid)
        validate_cpu, mutate_cpu = (_compare(mount, path) for path in PATHS)
        return Admission(validate, mutate, validate_cpu, mutate_cpu, median(starts), at_start, after_load)


def _compare(mount: Mount, path: str) -> Comparison:
    """Load the webhook and the bare application in turns."""
    with _webhook(mount) as webhook, _bare(mount) as bare:
        loads = [[_load(*server, path, TURN_SECONDS) for server in (webhook, bare)] for _ in range(TURNS)]
    ours, theirs = zip(*loads, strict=True)
    return Comparison(*(_cpu_per_review(turns) for turns in (ours, theirs)))


def _cpu_per_review(turns: tuple[Load, ...]) -> float:
    reviews = sum(turn.reviews_per_second for turn in turns)
    return sum(turn.cpu_milliseconds * turn.reviews_per_second for turn in turns) / reviews


def _webhook(mount: Mount) -> Server:
    def settings(port: int) -> dict[str, str]:
        files = {"TLS_CERT_FILE": str(mount.certificate_file), "TLS_KEY_FILE": str(mount.key_file)}
        return {"WEBHOOK_HOST": "127.0.0.1", "WEBHOOK_PORT": str(port), **files}

    return _serving(lambda _port: ["-m", "webhook"], settings)


def _bare(mount: Mount) -> Server:
    files = [str(mount.certificate_file), str(mount.key_file)]
    return _serving(lambda port: ["-m", "benchmarks.bare", str(port), *files], lambda _port: {})


@contextmanager
def _serving(
    arguments: Callable[[int], list[str]], settings: Callable[[int], dict[str, str]]
) -> Iterator[tuple[int, int]]:
    """Run a server; yield its process id and port as soon as it answers a probe."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command, environment = [sys.executable, *arguments(port)], os.environ | settings(port)
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL) as process:
        try:
            _wait_until_ready(port)
            yield process.pid, port
        finally:
            process.terminate()


def _start_milliseconds(mount: Mount) -> float:
    started = time.perf_counter()
    with _webhook(mount):
        return (time.perf_counter() - started) * 1000


def _wait_until_ready(port: int) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while True:
        try:
            with trusting_all().wrap_socket(socket.create_connection(("127.0.0.1", port))) as connection:
                connection.sendall(b"GET /readyz HTTP/1.1\r\nhost: webhook\r\n\r\n")
                if connection.recv(4096).startswith(b"HTTP/1.1 200"):
                    return
        except OSError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.002)


def _load(pid: int, port: int, path: str, seconds: float) -> Load:
    """Load a server from a process of clients."""
    before = cpu_seconds(pid)
    command = [sys.executable, "-m", "benchmarks.review_clients", str(port), path, str(seconds)]
    count, p50, p99 = json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout)
    return Load(count / seconds, (cpu_seconds(pid) - before) / count * 1000, p50 * 1000, p99 * 1000)


def main() -> None:
    """Print the figures."""
    found = measure()
    print(f"start      {found.cold_start_milliseconds:.0f} ms")
    print(f"memory     {found.resident_mib_at_start:.0f} MiB, after the load {found.resident_mib_after_load:.0f} MiB")
    _print_path("/validate", found.validate, found.validate_cpu)
    _print_path("/mutate", found.mutate, found.mutate_cpu)


def _print_path(path: str, load: Load, cpu: Comparison) -> None:
    times = f"p50 {load.p50_milliseconds:.2f} ms, p99 {load.p99_milliseconds:.2f} ms"
    print(f"{path:10} {load.reviews_per_second:.0f} reviews/s, {times}")
    print(f"{'':10} CPU per review {cpu.webhook:.3f} ms, bare application {cpu.bare:.3f} ms, ratio {cpu.ratio:.2f}")


if __name__ == "__main__":
    main()
