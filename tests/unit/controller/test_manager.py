"""Test the start of a term as leader."""

from __future__ import annotations

import asyncio

from kubernetes.aio import client
from prometheus_client import CollectorRegistry

from common.logs import logger
from controller.duration_tracker import DurationTracker
from controller.informer.cluster_cache import ClusterCache
from controller.kubeclient.client import KubeClient
from controller.leader_election import Leadership
from controller.manager import Manager
from controller.metrics import Metrics
from controller.model.results import Done, Outcome
from controller.objects.lease import Election
from controller.status.events import Recorder
from controller.upstream.prober import Prober
from controller.workqueue.workers import KeyQueue, Workers
from tests.support.controller import settings


async def _done(_: str) -> Outcome:
    return Done()


async def _ignore(*_: object) -> None:
    pass


async def test_new_term_resets_durations() -> None:
    """The lease is lost at once here, without an API server."""
    log, durations, keys = logger("ERROR", "test"), DurationTracker(), KeyQueue()
    metrics, state = Metrics(CollectorRegistry()), ClusterCache(keys.enqueue)
    assert durations.held("docker", "waits", 0.0) == 0.0
    assert durations.held("docker", "waits", 100.0) == 100.0
    async with KubeClient(client.Configuration()) as cluster:
        leadership = Leadership(cluster, "mirrors", Election("me"), log)
        prober, recorder = Prober(settings(), keys.enqueue, log), Recorder(cluster, "me", log)
        workers = Workers(keys, _done, _ignore, log, metrics)
        manager = Manager([], state, leadership, workers, prober, recorder, metrics, durations.clear)
        await manager._lead(asyncio.Event())
    assert durations.held("docker", "waits", 200.0) == 0.0
