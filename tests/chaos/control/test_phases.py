"""Test a controller killed before each write, and watches whose version is too old."""

from __future__ import annotations

import asyncio
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from common.logs import logger
from controller.informer.reflector import Reflector
from controller.informer.store import Store
from controller.kubeclient import client
from controller.kubeclient.config import load_configuration
from controller.objects import resources
from tests.chaos.control.conftest import until_served
from tests.localcluster.pages import page
from tests.localcluster.system import NAMESPACE
from tests.support.faults import CHILDREN, complete, normal_form, one
from tests.support.holding_webhook import HoldingWebhook
from tests.support.kube import until
from tests.support.proxied import USER, Proxied, proxy_before

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.cluster.conftest import Running
    from tests.support.chaos import Chaos
    from tests.support.kube import Kube

# Seconds of history in etcd; the default is 300. Without its watch cache the API server reads missed events from etcd.
COMPACTION_INTERVAL = 2


@pytest.fixture(scope="module")
def running(ground: Callable[..., Running]) -> Running:
    """Return a cluster without Kubernetes' controllers, so that only ours writes."""
    running = ground("--watch-cache=false", f"--etcd-compaction-interval={COMPACTION_INTERVAL}s", controllers=False)
    running.system.start()
    until_served(running)
    return running


@pytest.fixture(scope="module")
def webhook(running: Running) -> Iterator[HoldingWebhook]:
    """Hold the controller's writes, except leases and Events."""
    with HoldingWebhook(running.cluster) as webhook:
        everything = {"apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"]}
        others = "!(request.resource.resource in ['leases', 'events'])"
        webhook.register(running.kube, "holding", everything, f"request.userInfo.username == '{USER}'", others)
        yield webhook


def _kill(running: Running) -> None:
    """Kill the controller and delete its lease, to save the 15 s until it expires."""
    running.system.processes.kill("controller", signal.SIGKILL)
    until(lambda: not running.system.processes.alive("controller"), why="it is dead")
    with suppress(AssertionError):
        running.kube.delete(resources.LEASE, "registrymirror-controller")


def _held_write(webhook: HoldingWebhook, done: Callable[[], bool]) -> list[str]:
    """Return the held write, or `nothing` once all is done."""
    return until(lambda: webhook.held or (["nothing"] if done() else []), why="a write is held, or all is done")


def test_kill_before_each_write(running: Running, webhook: HoldingWebhook, chaos: Chaos) -> None:
    """Create, change and delete mirrors. The next controller finishes with the same objects as an undisturbed one."""
    kube, expected = running.kube, normal_form(running.kube, "undisturbed")
    made = changed = deleted = 0
    for phase in range(30):
        name = f"p{phase}"
        webhook.hold(after=phase)
        kube.mirror(one(name))
        held = _held_write(webhook, lambda name=name: complete(kube, name))  # type: ignore[misc]
        if held == ["nothing"]:
            break
        made += 1
        _kill(running)
        assert not complete(kube, name), held
        webhook.release()
        running.system.start_controller()
        until(lambda name=name: complete(kube, name), why=f"{name}, killed before {held}", seconds=30)  # type: ignore[misc]
        assert normal_form(kube, name) == expected, held
    for phase in range(30):
        webhook.hold(after=phase)
        kube.patch(
            resources.MIRROR, "p0", {"spec": {"upstreamUrl": f"changed{phase}.example.com", "replicas": 2 + phase % 2}}
        )
        is_done = lambda phase=phase: _is_changed(kube, "p0", f"changed{phase}", 2 + phase % 2)  # noqa: E731
        held = _held_write(webhook, is_done)
        if held == ["nothing"]:
            break
        changed += 1
        _kill(running)
        webhook.release()
        running.system.start_controller()
        until(is_done, why=f"changed, killed before {held}", seconds=30)
    for phase in range(5):
        webhook.hold(after=phase)
        kube.delete(resources.MIRROR, f"p{phase}")
        gone = lambda phase=phase: kube.find(resources.MIRROR, f"p{phase}") is None  # noqa: E731
        held = _held_write(webhook, gone)
        if held == ["nothing"]:
            break
        deleted += 1
        _kill(running)
        webhook.release()
        running.system.start_controller()
        until(gone, why=f"gone, killed before {held}", seconds=30)
    webhook.release()
    assert made >= 8, "finalizer, Secret, two Services, budget, StatefulSet, DaemonSet, status"
    assert changed >= 3
    assert deleted >= 1
    what = f"controller killed before each write of making ({made}), changing ({changed}), deleting ({deleted})"
    chaos.row(what, lost=f"0 of {made + changed + deleted} mirrors", note="each ends as undisturbed")


def _is_changed(kube: Kube, name: str, host: str, replicas: int) -> bool:
    stateful_set, mirror = kube.get(resources.STATEFUL_SET, f"registry-mirror-{name}"), kube.get(resources.MIRROR, name)
    seen = mirror.get("status", {}).get("observedGeneration") == mirror["metadata"]["generation"]
    return seen and host in mirror["status"]["upstream"] and stateful_set["spec"]["replicas"] == replicas


async def test_compacted_watch_lists_again(running: Running, chaos: Chaos, monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams end after a second. The version of a kind without events is soon too old (status 410)."""
    kube, restarts, store = running.kube, list[str](), Store()
    monkeypatch.setattr(client, "WATCH_DURATION", 1)
    kube.create(resources.CONFIG_MAP, {"metadata": {"name": "goes"}})
    configuration = await load_configuration(str(running.cluster.kubeconfig))
    async with client.KubeClient(configuration) as cluster:
        log = logger("ERROR", "test")
        reflector = Reflector(cluster, resources.CONFIG_MAP, NAMESPACE, store, log, 1.0, restarts.append)
        running_task = asyncio.create_task(reflector.run())
        await reflector.synced.wait()
        began = time.monotonic()
        async with asyncio.timeout(60):
            while "expired" not in restarts:
                kube.patch(
                    resources.SECRET, "registrymirror-ca", {"metadata": {"labels": {"time": str(time.time_ns())}}}
                )
                await asyncio.sleep(0.1)  # another version for etcd to compact
            took = time.monotonic() - began
            kube.create(resources.CONFIG_MAP, {"metadata": {"name": "comes"}})
            kube.delete(resources.CONFIG_MAP, "goes")
            while "comes" not in store or "goes" in store:  # noqa: ASYNC110 (waits for a state, not an event)
                await asyncio.sleep(0.05)
        running_task.cancel()
        await asyncio.gather(running_task, return_exceptions=True)
    assert set(restarts) == {"expired"}, "no other restart"
    chaos.row(
        "etcd compacted under a watch (410)",
        lost="0 of 2 changes",
        note=f"refused after {took:.0f} s, listed again, nothing missed",
    )


def test_network_loss_beyond_history_misses_nothing(running: Running, chaos: Chaos) -> None:
    kube, expected = running.kube, normal_form(running.kube, "undisturbed")
    running.system.processes.stop(["controller"])
    with proxy_before(running) as proxy:
        Proxied(running, proxy)
        for name in ("deleted", "broken", "bereft"):
            kube.mirror(one(name))
        for name in ("deleted", "broken", "bereft"):
            until(lambda name=name: complete(kube, name), why=f"{name} is complete")  # type: ignore[misc]
        before = _lists(running)
        proxy.drop()
        kube.mirror(one("new"))
        kube.delete(resources.MIRROR, "deleted")
        kube.patch(resources.STATEFUL_SET, "registry-mirror-broken", {"spec": {"replicas": 0}})
        for kind, suffix in CHILDREN:
            kube.delete(kind, f"registry-mirror-bereft{suffix}")
        _wait_for_compaction(kube)
        proxy.cut()
        proxy.restore()
        back = time.monotonic()
        for name in ("new", "broken", "bereft"):
            until(lambda name=name: complete(kube, name), why=f"{name} is complete", seconds=30)  # type: ignore[misc]
            until(lambda name=name: normal_form(kube, name) == expected, why=f"{name} equals the undisturbed one")  # type: ignore[misc]
        kube.until_gone(resources.MIRROR, "deleted")
        took = time.monotonic() - back
        lists = _lists(running) - before
        running.system.processes.stop(["controller"])
    assert lists > 0, "watches were listed again"
    chaos.row(
        "cut off for longer than etcd keeps history",
        lost="0 of 4 changes",
        recovered=took,
        note=f"{lists:.0f} watches listed again",
    )


def _wait_for_compaction(kube: Kube) -> None:
    """Wait until a watch from the present version would be refused."""
    marker = kube.create(resources.CONFIG_MAP, {"metadata": {"name": "marks-a-version"}})
    query = {"watch": "true", "resourceVersion": marker["metadata"]["resourceVersion"], "timeoutSeconds": "1"}
    path = resources.CONFIG_MAP.path(NAMESPACE)

    def refused() -> bool:
        kube.patch(resources.CONFIG_MAP, "marks-a-version", {"data": {"time": str(time.time())}})
        return '"code":410' in kube.http.get(path, params=query).text

    until(refused, why="etcd has compacted", seconds=60)


def _lists(running: Running) -> float:
    lines = (page(running.system.metrics_port, "/metrics") or "").splitlines()
    return sum(float(line.split()[-1]) for line in lines if "watch_restarts_total{" in line)
