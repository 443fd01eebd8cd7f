"""What a process that leads again has kept of the time when it led before."""

from __future__ import annotations

import asyncio

from kubernetes.aio import client
from prometheus_client import CollectorRegistry

from common.logs import logger
from controller.cluster import Cluster
from controller.election import Election
from controller.events import Recorder
from controller.leadership import Leadership
from controller.manager import Manager
from controller.metrics import Metrics
from controller.outcomes import Done, Outcome
from controller.probing.prober import Prober
from controller.state import State
from controller.stopwatches import Stopwatches
from controller.workers import Inbox, Workers
from tests.support.controller import settings


async def _done(_: str) -> Outcome:
    return Done()


async def _untold(*_: object) -> None:
    """There is nobody to tell."""


async def test_waits_of_an_earlier_time_as_the_leader_begin_anew() -> None:
    """In between it has not looked, and another may have seen to it. The lease is lost at once here; no API server."""
    log, stopwatches, inbox = logger("ERROR", "test"), Stopwatches(), Inbox()
    metrics, state = Metrics(CollectorRegistry()), State(inbox.enqueue)
    assert stopwatches.held("docker", "waits", 0.0) == 0.0
    assert stopwatches.held("docker", "waits", 100.0) == 100.0
    async with Cluster(client.Configuration()) as cluster:
        leadership = Leadership(cluster, "mirrors", Election("me"), log)
        prober, recorder = Prober(settings(), inbox.enqueue, log), Recorder(cluster, "me", log)
        workers = Workers(inbox, _done, _untold, log, metrics)
        manager = Manager([], state, leadership, workers, prober, recorder, metrics, stopwatches)
        await manager._lead(asyncio.Event())
    assert stopwatches.held("docker", "waits", 200.0) == 0.0
