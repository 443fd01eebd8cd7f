"""Test the manager: the start of a term as leader, and the hourly requeue."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest
from kubernetes.aio import client

from common.logs import logger
from common.metrics import new_registry
from controller import manager as module
from controller.caches.cache_poller import CachePoller
from controller.informer.cluster_cache import ClusterCache
from controller.kubeclient.client import KubeClient
from controller.leader_election import Leadership
from controller.manager import Manager
from controller.metrics import Metrics
from controller.model.results import Done, Outcome
from controller.objects.lease import Election
from controller.objects.well_known import ADMISSION_KEY
from controller.status.events import Recorder
from controller.workqueue.workers import KeyQueue, Workers
from tests.support.controller import stored
from tests.support.mirrors import a_mirror

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


async def _done(_: str) -> Outcome:
    return Done()


async def _ignore(*_: object) -> None:
    pass


async def _no_answer(_: str) -> object:
    return None


@pytest.fixture
async def manager() -> AsyncIterator[Manager]:
    """Return a manager without reflectors; there is no API server."""
    log, keys = logger("ERROR", "test"), KeyQueue()
    metrics, state = Metrics(new_registry()), ClusterCache(keys.enqueue)
    async with KubeClient(client.Configuration()) as cluster:
        leadership = Leadership(cluster, "mirrors", Election("me"), log)
        caches = CachePoller(state.cache_pods, keys.enqueue, _no_answer, log)
        recorder = Recorder(cluster, "me", log)
        workers = Workers(keys, _done, _ignore, log, metrics)
        yield Manager([], state, leadership, workers, caches, recorder, metrics, list[None]().clear)


async def test_new_term_forgets_the_last_one(manager: Manager) -> None:
    """The lease is lost at once here."""
    remembered = ["of the last term"]
    manager.forget = remembered.clear
    await manager._lead(asyncio.Event())
    assert remembered == []


async def test_resync_enqueues_all_keys_again(manager: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wall clock that was set makes certificates due without an event."""
    monkeypatch.setattr(module, "RESYNC_INTERVAL", 0.01)
    manager.state.mirrors.put(stored(a_mirror().named("docker")))
    keys, taken = manager.workers.keys, list[str | None]()
    resync = asyncio.create_task(manager._resync())
    async with asyncio.timeout(20):
        while taken.count("docker") < 3 or taken.count(ADMISSION_KEY) < 3:
            await asyncio.sleep(0.001)
            taken.append(key := keys.queue.take(time.monotonic()))
            if key is not None:
                keys.queue.done(key, time.monotonic())
    resync.cancel()
