"""Measure admission through the API server: `create ?dryRun=All` with and without the webhook.

Each create causes a review at /mutate and one at /validate. A dry run does everything but the write to etcd.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from statistics import median, quantiles
from typing import TYPE_CHECKING, Final

import orjson
import uvloop

from benchmarks.client import Client, Refused, connected
from benchmarks.subjects import a_mirror
from controller.objects.resources import MIRROR

if TYPE_CHECKING:
    from benchmarks.stage import Stage

CLIENTS: Final = 8  # as in the peers' measurement
SECONDS: Final = 4.0  # for each load; at 500 requests a second that is 2,000 of them
REGISTRATION_TIMEOUT: Final = 30.0  # seconds until the API server calls new webhooks; one is usual
POLL_INTERVAL: Final = 0.05
_PATH: Final = f"{MIRROR.path(None)}?dryRun=All"
# Far above the numbers of the burst: a dry run of an existing name is refused.
_FREE: Final = 9_000


@dataclass(frozen=True)
class Latency:
    """Dry runs of one client (`p50`, `p99` in ms) and of eight (requests per second and their p99)."""

    p50: float
    p99: float
    requests_per_second: float
    loaded_p99: float


@dataclass(frozen=True)
class Reviews:
    """The same requests to one API server with and without our webhook."""

    without: Latency
    ours: Latency


def register(stage: Stage) -> None:
    """Register the webhook on a stage with a running controller, and wait until the API server calls it."""
    stage.register_webhook()
    uvloop.run(_registered(stage))


def measure(stage: Stage) -> Reviews:
    """Measure without the webhook, register it, and measure again. The controller must run."""
    without = uvloop.run(_latency(stage))
    register(stage)
    return Reviews(without, uvloop.run(_latency(stage)))


async def _latency(stage: Stage) -> Latency:
    async with connected(stage.cluster) as client:
        await _load(client, CLIENTS, SECONDS / 4)  # warm up connections and caches
        alone = await _load(client, 1, SECONDS)
        together = await _load(client, CLIENTS, SECONDS)
        return Latency(median(alone), _p99(alone), len(together) / SECONDS, _p99(together))


async def _load(client: Client, clients: int, seconds: float) -> list[float]:
    """Return the milliseconds of each request. Each client sends one request at a time."""
    times: list[float] = []
    end = time.perf_counter() + seconds

    async def work(number: int) -> None:
        body = orjson.dumps(a_mirror(_FREE + number))
        while (started := time.perf_counter()) < end:
            await client.post(_PATH, body)
            times.append((time.perf_counter() - started) * 1000)

    async with asyncio.TaskGroup() as group:
        for number in range(clients):
            group.create_task(work(number))
    return times


async def _registered(stage: Stage) -> None:
    """Wait until the API server refuses an object that only the webhook refuses, and accepts a valid one."""
    body = orjson.dumps(a_mirror(_FREE))
    bad = orjson.dumps({**a_mirror(_FREE), "metadata": {"name": "a" * 60}})
    limit = time.monotonic() + REGISTRATION_TIMEOUT
    async with connected(stage.cluster) as client:
        while not (await _passes(client, body) and not await _passes(client, bad)):
            if time.monotonic() > limit:
                raise TimeoutError(stage.system.processes.last_lines("webhook"))
            await asyncio.sleep(POLL_INTERVAL)


async def _passes(client: Client, body: bytes) -> bool:
    try:
        await client.post(_PATH, body)
    except Refused:
        return False
    return True


def _p99(times: list[float]) -> float:
    return quantiles(times, n=100)[98]
