"""Measure the limit: the time in which the API server creates the same objects for a bare client."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson
import uvloop

from benchmarks.client import connected, post_all
from tests.localcluster.system import NAMESPACE

if TYPE_CHECKING:
    from benchmarks.stage import Stage
    from common.types import Json
    from controller.objects.resources import Kind


@dataclass(frozen=True)
class Limit:
    """Time of raw creates, and CPU seconds of client and API server."""

    objects: int
    seconds: float
    client_cpu_seconds: float
    api_server_cpu_seconds: float


def measure(stage: Stage, objects: list[tuple[Kind, Json]]) -> Limit:
    """Create the objects from prepared bytes with 16 workers."""
    posts = [(kind.path(NAMESPACE), orjson.dumps(body)) for kind, body in objects]
    server = stage.api_server.cpu_seconds()
    seconds, cpu = uvloop.run(_timed(stage, posts))
    return Limit(len(posts), seconds, cpu, stage.api_server.cpu_seconds() - server)


async def _timed(stage: Stage, posts: list[tuple[str, bytes]]) -> tuple[float, float]:
    async with connected(stage.cluster) as client:
        started, cpu = time.perf_counter(), time.process_time()
        await post_all(client, posts)
        return time.perf_counter() - started, time.process_time() - cpu
