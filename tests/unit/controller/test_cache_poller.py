"""Test the rounds in which the controller asks cache pods, with HTTP servers in place of the pods."""

from __future__ import annotations

import asyncio
import itertools
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from common import names
from common.cache_protocol import STATUS_PATH, STATUS_PORT
from common.logs import logger
from controller.caches import cache_poller
from controller.caches.cache_poller import CachePoller
from controller.informer.cluster_cache import ClusterCache
from controller.pod_http import ANSWER_TIMEOUT, http_fetch
from controller.status import reasons
from tests.support.agents import free_address
from tests.support.controller import parsed
from tests.support.mirrors import a_mirror
from tests.support.pod_servers import hang, pod_servers
from tests.support.waiting import until_true

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from common.types import Json
    from controller.model.observation import Verdict
    from tests.support.pod_servers import Handler

URL = "https://quay.io"


class CachePod:
    """Answer as a cache pod does, and count the requests."""

    def __init__(self, reason: str = "Reachable") -> None:
        self.reason, self.asked = reason, 0
        self.nodes: list[str] | None = None

    async def answer(self, _: web.Request) -> web.StreamResponse:
        """Answer one request."""
        self.asked += 1
        upstream = {"url": URL, "reason": self.reason, "message": "As it is.", "credentials": ""}
        clients = {} if self.nodes is None else {"clients": {"nodes": self.nodes, "unmatched": 0, "shared": 0}}
        return web.json_response({"upstreams": [upstream], **clients})


class World:
    """Pods as the watch reports them, and the mirrors that the poller enqueued."""

    def __init__(self, start: Callable[[Handler], Any], poller: CachePoller, enqueued: list[str]) -> None:
        self._start, self.poller, self.enqueued = start, poller, enqueued
        self._versions = itertools.count(1)

    async def pod(self, name: str, handler: Handler | None = None, *, mirror: str = "docker", **metadata: str) -> None:
        """Report a pod, with a server that has this handler. Without a handler the pod has no address yet."""
        address = await self._start(handler) if handler else None
        self.report(name, address, mirror, **metadata)

    def report(self, name: str, address: str | None, mirror: str = "docker", **metadata: str) -> None:
        """Report a pod with an address."""
        labels = names.pod_labels(mirror, names.REGISTRY)
        version = str(next(self._versions))
        pod: Json = {"metadata": {"name": name, "resourceVersion": version, "labels": labels, **metadata}}
        self.poller.pods.put({**pod, "status": {"podIP": address} if address else {}})

    def remove(self, name: str) -> None:
        """Report that a pod is gone."""
        self.poller.pods.remove(name, next(self._versions))

    def verdict(self, mirror: str = "docker") -> Verdict | None:
        """Return what the pods of a mirror report."""
        return next(iter(self.poller.verdicts(parsed(a_mirror().named(mirror).of(URL)))), None)

    def reason(self, mirror: str = "docker") -> str | None:
        """Return the reason of the verdict."""
        found = self.verdict(mirror)
        return None if found is None else found.cause.name

    @asynccontextmanager
    async def polling(self) -> AsyncIterator[None]:
        """Run the poller."""
        task = asyncio.create_task(self.poller.run())
        await asyncio.sleep(0)  # the poller forgets its answers
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Return a world without pods."""
    enqueued: list[str] = []
    pods = ClusterCache(lambda _: None).cache_pods
    async with pod_servers() as start, http_fetch(STATUS_PORT, STATUS_PATH) as fetch:
        yield World(start, CachePoller(pods, enqueued.append, fetch, logger("ERROR", "test")), enqueued)


async def test_first_round_asks_all_pods(world: World) -> None:
    one, two, other = CachePod(), CachePod("TimedOut"), CachePod()
    for name, pod in (("docker-0", one), ("docker-1", two)):
        await world.pod(name, pod.answer)
    await world.pod("quay-0", other.answer, mirror="quay")
    assert world.reason() is None
    async with world.polling():
        await until_true(lambda: world.reason() == "TimedOut" and world.reason("quay") == "Reachable")
    assert [pod.asked for pod in (one, two, other)] == [1, 1, 1]
    assert set(world.enqueued) == {"docker", "quay"}


async def test_mirror_without_pods_waits_for_first_round(world: World) -> None:
    """It was reconciled before, so it is enqueued although nothing answers."""
    assert world.verdict("empty") is None
    async with world.polling():
        await until_true(lambda: world.enqueued == ["empty"])
        assert world.reason("empty") == "NotAsked"


async def test_new_address_is_asked_at_once(world: World) -> None:
    async with world.polling():
        await world.pod("docker-0")
        await until_true(lambda: world.reason() == "NotAsked")
        await world.pod("docker-0", CachePod("RateLimited").answer)
        await until_true(lambda: world.reason() == "RateLimited")
        await world.pod("docker-0", CachePod().answer)
        await until_true(lambda: world.reason() == "Reachable")
    assert world.enqueued == ["docker", "docker"]


async def test_pods_that_end_are_forgotten(world: World) -> None:
    for name, reason in (("docker-0", "Reachable"), ("docker-1", "TimedOut"), ("docker-2", "RateLimited")):
        await world.pod(name, CachePod(reason).answer)
    async with world.polling():
        await until_true(lambda: world.reason() == "TimedOut")
        world.report("docker-1", free_address(), deletionTimestamp="2026-01-01T00:00:00Z")
        await until_true(lambda: world.reason() == "RateLimited")
        world.remove("docker-2")
        await until_true(lambda: world.reason() == "Reachable")
        world.remove("docker-0")
        await until_true(lambda: world.reason() == "NotAsked")
    assert world.enqueued == ["docker"] * 4


async def test_hanging_pod_blocks_no_other(world: World) -> None:
    await world.pod("hung-0", hang, mirror="hung")
    await world.pod("hung-1", CachePod().answer, mirror="hung")
    await world.pod("docker-0", CachePod().answer)
    began = time.monotonic()
    async with world.polling():
        await until_true(lambda: world.reason() == "Reachable", ANSWER_TIMEOUT / 2)
        assert world.reason("hung") is None
        await until_true(lambda: world.reason("hung") == "Reachable", ANSWER_TIMEOUT + 2)
    assert time.monotonic() - began > ANSWER_TIMEOUT - 0.1


async def test_same_answers_enqueue_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    pod = CachePod()
    await world.pod("docker-0", pod.answer)
    async with world.polling():
        await until_true(lambda: world.enqueued == ["docker"])
    monkeypatch.setattr(cache_poller, "INTERVAL", 0.01)
    async with world.polling():
        await until_true(lambda: pod.asked >= 5)
        assert world.enqueued == ["docker"] * 2, "another term begins without answers"
        pod.reason = "ServerError"
        await until_true(lambda: world.reason() == "ServerError")
        asked = pod.asked
        await until_true(lambda: pod.asked > asked + 3)
    assert world.enqueued == ["docker"] * 3


async def test_nodes_that_pull_enqueue_by_their_number(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that pulls from both pods counts once. The report of a pod that does not answer stays."""
    one, two = CachePod(), CachePod()
    for name, pod in (("docker-0", one), ("docker-1", two)):
        await world.pod(name, pod.answer)
    monkeypatch.setattr(cache_poller, "INTERVAL", 0.01)
    async with world.polling():
        await until_true(lambda: world.enqueued == ["docker"])
        assert world.poller.pulling("docker") is None
        one.nodes = ["a", "b"]
        await until_true(lambda: world.poller.pulling("docker") == 2)
        one.nodes, two.nodes = ["a"], ["a", "b"]
        asked = two.asked
        await until_true(lambda: two.asked > asked + 3)
        assert world.enqueued == ["docker"] * 2
        two.nodes = None
        asked = two.asked
        await until_true(lambda: two.asked > asked + 3)
        assert world.poller.pulling("docker") == 2
        world.remove("docker-1")
        await until_true(lambda: world.poller.pulling("docker") == 1)


async def test_pod_without_cache_counts_as_unanswered(world: World) -> None:
    """Its address was taken by another program, or it does not listen yet."""

    async def other(_: web.Request) -> web.StreamResponse:
        return web.json_response({"state": "configured"})

    await world.pod("docker-0", other)
    world.report("docker-1", free_address())
    async with world.polling():
        await until_true(lambda: world.enqueued == ["docker"])
        found = world.verdict()
        assert found is not None
        assert (found.cause, found.is_switching) == (reasons.NOT_ASKED, False)
        assert "docker" in world.poller._answers


async def test_many_pods_make_rounds_longer(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rate of requests is limited."""
    monkeypatch.setattr(cache_poller, "INTERVAL", 0.0)
    monkeypatch.setattr(cache_poller, "PACE", 0.1)
    pod = CachePod()
    address = await world._start(pod.answer)
    for number in range(5):
        world.report(f"docker-{number}", address)
    began = time.monotonic()
    async with world.polling():
        await until_true(lambda: pod.asked >= 15)
    assert time.monotonic() - began > 2 * 0.1 * 5 - 0.01
