"""Run clients in processes of their own, beside servers whose CPU time is read."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from benchmarks.cache.clients import Done, Work
from benchmarks.cache.servers import ROOT, Server, Tls, cpu_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator

# Processes of clients, so that these can use whichever core is free.
PROCESSES: Final = 2
TIMEOUT: Final = 900.0  # seconds


class ClientError(Exception):
    """Clients failed, so the figures are void."""


@dataclass(frozen=True, slots=True)
class Task:
    """The work of each client; see Work."""

    images: list[list[str]] = field(default_factory=list)
    blobs: list[str] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    seconds: float = 0.0
    network: int = 1


@dataclass(frozen=True, slots=True)
class Loaded:
    """Bytes of all clients, seconds to the end of the last one, and CPU time of the servers."""

    seconds: float
    first_byte: float
    requests: int
    size: int
    cpu_seconds: float


def load(servers: list[Server], tls: Tls, clients: int, task: Task) -> Loaded:
    """Let clients do a task. They take turns with the servers. Raises ClientError."""
    processes = min(PROCESSES, clients)
    with ExitStack() as stack:
        running = []
        for number in range(processes):
            share = range(number * clients // processes, (number + 1) * clients // processes)
            work = Work(
                [each.port for each in servers],
                tls.ca,
                share,
                task.images,
                task.blobs,
                task.paths,
                task.seconds,
                task.network,
            )
            running.append(stack.enter_context(_process(work)))
        for process in running:
            if process.stdout is None or process.stdout.readline() != "ready\n":
                raise ClientError("The clients do not start. Their error is above.")
        before, began = cpu_seconds(servers), time.monotonic()
        for process in running:
            assert process.stdin is not None  # noqa: S101 (for mypy)
            process.stdin.write("go\n")
            process.stdin.flush()
        done = [each for process in running for each in _result(process)]
        return Loaded(
            seconds=max(each.finished for each in done) - began,
            first_byte=max(each.first_byte for each in done),
            requests=sum(each.requests for each in done),
            size=sum(each.size for each in done),
            cpu_seconds=cpu_seconds(servers) - before,
        )


def _process(work: Work) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.cache.clients", work.to_json()]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _result(process: subprocess.Popen[str]) -> Iterator[Done]:
    output, _ = process.communicate(timeout=TIMEOUT)
    if process.returncode:
        raise ClientError("Clients failed. Their error is above.")
    return (Done(**each) for each in json.loads(output))
