"""Admission as a person meets it: `create ?dryRun=All` through the API server, with the webhook and without.

A creation is reviewed twice, by /mutate and by /validate. A dry run goes all the way but into etcd.
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

CLIENTS: Final = 8  # as the peers were measured
SECONDS: Final = 4.0  # for each load; at 500 requests a second that is 2,000 of them
REGISTERED: Final = 30.0  # seconds, in which the API server has heard of new webhooks; one is usual
POLL: Final = 0.05
_PATH: Final = f"{MIRROR.path(None)}?dryRun=All"
# Numbers far above those of the burst: a dry run of a name that exists is refused.
_FREE: Final = 9_000


@dataclass(frozen=True)
class Latency:
    """Dry runs one after the other (`p50`, `p99` in ms), and by eight clients at a time (requests/s and their p99)."""

    p50: float
    p99: float
    requests_per_second: float
    loaded_p99: float


@dataclass(frozen=True)
class Reviews:
    """The same requests to the same API server, with and without our webhook."""

    without: Latency
    ours: Latency


def register(stage: Stage) -> None:
    """Registers the webhook of a stage whose controller runs; returns once it is asked."""
    stage.register_webhook()
    uvloop.run(_registered(stage))


def measure(stage: Stage) -> Reviews:
    """Registers the webhook of a stage, whose controller runs, in the middle of it; leaves it registered."""
    without = uvloop.run(_latency(stage))
    register(stage)
    return Reviews(without, uvloop.run(_latency(stage)))


async def _latency(stage: Stage) -> Latency:
    async with connected(stage.cluster) as client:
        await _load(client, CLIENTS, SECONDS / 4)  # warms up connections and caches
        alone = await _load(client, 1, SECONDS)
        together = await _load(client, CLIENTS, SECONDS)
        return Latency(median(alone), _p99(alone), len(together) / SECONDS, _p99(together))


async def _load(client: Client, clients: int, seconds: float) -> list[float]:
    """Milliseconds of each request, of so many clients that each wait for the answer before the next."""
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
    """Returns once an object that only the webhook refuses is refused by it, and a good one passes."""
    body = orjson.dumps(a_mirror(_FREE))
    bad = orjson.dumps({**a_mirror(_FREE), "metadata": {"name": "a" * 60}})
    limit = time.monotonic() + REGISTERED
    async with connected(stage.cluster) as client:
        while not (await _passes(client, body) and not await _passes(client, bad)):
            if time.monotonic() > limit:
                raise TimeoutError(stage.system.processes.last_lines("webhook"))
            await asyncio.sleep(POLL)


async def _passes(client: Client, body: bytes) -> bool:
    try:
        await client.post(_PATH, body)
    except Refused:
        return False
    return True


def _p99(times: list[float]) -> float:
    return quantiles(times, n=100)[98]
