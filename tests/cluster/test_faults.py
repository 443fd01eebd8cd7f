"""Test faults of the API server, of the watches and of the controller: no object is lost or duplicated."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from common.logs import logger
from controller.informer.reflector import SHORTEST_STREAM, Reflector
from controller.informer.store import Store
from controller.kubeclient.client import KubeClient
from controller.kubeclient.config import load_configuration
from controller.kubeclient.errors import ClusterError, Gone
from controller.objects import resources
from tests.localcluster.pages import page
from tests.support.faults import CHILDREN, complete, events_of, leads, log_of, normal_form, one
from tests.support.kube import NAMESPACE, Kube, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from common.types import Json
    from tests.cluster.conftest import Running

pytestmark = pytest.mark.slow


def test_killed_api_server_delays_20_reconciles(own: Running) -> None:
    names = [f"m{number}" for number in range(20)]
    for name in names:
        own.kube.mirror(one(name))
    own.cluster.kill_apiserver()
    own.cluster.start_apiserver()
    for name in names:
        # For a second after its start the API server refuses all writes; the retries are soon.
        until(lambda name=name: complete(own.kube, name), why=f"{name} is complete", seconds=30)  # type: ignore[misc]
    assert "reconcile crashed" not in events_of(own, "controller")
    # The watch of an unused kind is restored within 3 s.
    until(lambda: logged(own, "watch lost") == logged(own, "watch restored"), why="all watches are restored")
    lost = [line["kind"] for line in log_of(own, "controller") if line["event"] == "watch lost"]
    assert max(map(lost.count, lost)) <= 2, "logged once, or twice if the API server was back before the CRD"


def logged(running: Running, event: str) -> int:
    """Return how often the controller has logged the event."""
    return events_of(running, "controller").count(event)


async def test_expired_resource_version_raises_gone(fresh: Callable[..., Running]) -> None:
    """A restarted API server has no history from before (status 410)."""
    cluster = fresh(controllers=False).cluster
    cluster.kill_apiserver()
    cluster.start_apiserver()
    configuration = await load_configuration(str(cluster.kubeconfig))
    async with KubeClient(configuration) as client:
        stale: Any = _Stale(client)
        restarts = list[str]()
        reflector = Reflector(
            stale, resources.SECRET, NAMESPACE, Store(), logger("ERROR", "test"), 1.0, restarts.append
        )
        with pytest.raises(Gone):
            await reflector.list_then_watch()


class _Stale:
    """Wrap a client; its lists have an expired resource version."""

    def __init__(self, client: KubeClient) -> None:
        self.client = client
        self.watch = client.watch

    async def pages(
        self, kind: resources.Kind, namespace: str | None, selector: str = "", labels: str = ""
    ) -> AsyncIterator[tuple[list[Json], str]]:
        async for items, _ in self.client.pages(kind, namespace, selector, labels):
            yield items, "1"


async def test_silent_watch_continues_without_a_list(kube: Kube, monkeypatch: pytest.MonkeyPatch) -> None:
    """The API server may have no events for hours; the watch is not logged as lost."""
    monkeypatch.setattr("controller.kubeclient.client.WATCH_SILENCE", 1.5 * SHORTEST_STREAM)
    configuration = await load_configuration(str(kube.cluster.kubeconfig))
    async with KubeClient(configuration) as client:
        store, restarts, counted = Store(), list[str](), _Counted(client)
        reflector = Reflector(
            cluster=counted,  # type: ignore[arg-type]
            kind=resources.CONFIG_MAP,
            namespace=NAMESPACE,
            store=store,
            log=logger("ERROR", "test"),
            longest_wait=1.0,
            on_restart=restarts.append,
            selector="metadata.name=silent",
        )
        running = asyncio.create_task(reflector.run())
        async with asyncio.timeout(30):
            await counted.until(3)
            created = await client.create(resources.CONFIG_MAP, NAMESPACE, {"metadata": {"name": "silent"}})
            while "silent" not in store:  # noqa: ASYNC110 (waits for a state, not an event)
                await asyncio.sleep(0.01)
            await client.delete(resources.CONFIG_MAP, NAMESPACE, created)
        running.cancel()
    assert restarts == []


class _Counted:
    """Wrap a client and count its watches."""

    def __init__(self, client: KubeClient) -> None:
        self.client, self.watches = client, 0
        self.pages = client.pages

    def watch(
        self, kind: resources.Kind, namespace: str | None, version: str, selector: str = "", labels: str = ""
    ) -> AbstractAsyncContextManager[AsyncIterator[Json]]:
        self.watches += 1
        return self.client.watch(kind, namespace, version, selector, labels)

    async def until(self, watches: int) -> None:
        while self.watches < watches:  # noqa: ASYNC110 (waits for a state, not an event)
            await asyncio.sleep(0.05)


async def test_client_raises_only_cluster_errors(kube: Kube) -> None:
    configuration = await load_configuration(str(kube.cluster.kubeconfig))
    async with KubeClient(configuration) as client:
        for kind, name in ((resources.SECRET, "no-such"), (resources.Kind("v1", "nonsenses", "Nonsense"), "x")):
            with pytest.raises(ClusterError):
                await client.get(kind, NAMESPACE, name)
        with pytest.raises(ClusterError):
            await client.create(resources.SERVICE, NAMESPACE, {"metadata": {"name": "UPPER"}})
    configuration.host = "https://127.0.0.1:1"
    async with KubeClient(configuration) as client:
        with pytest.raises(ClusterError):
            await anext(client.pages(resources.SECRET, NAMESPACE))
    with pytest.raises(ClusterError, match="no way to the cluster"):
        await load_configuration("/nowhere/kubeconfig")


def test_missing_crd_is_logged_once_and_awaited(fresh: Callable[..., Running]) -> None:
    running = fresh(SECONDS_BETWEEN_STREAMS="1")
    running.kube.kubectl("delete", "crd", "registrymirrors.k8s.osp.tech")
    port = running.system.launch_controller()
    until(lambda: "watch lost" in events_of(running, "controller"), why="the missing CRD is logged")
    until(lambda: (page(port, "/metrics") or "").count('reason="lost"') >= 1, why="the list is retried")
    assert page(port, "/healthz") == "ok\n"
    assert page(port, "/readyz") is None
    running.system.install()
    until(lambda: page(port, "/readyz"), why="it is ready after the CRD was installed")
    lost = [line for line in log_of(running, "controller") if line["event"] == "watch lost"]
    assert {line["kind"] for line in lost} == {"RegistryMirror"}
    # The watch of a new CRD may be lost again for a moment.
    assert ["install the CustomResourceDefinition" in line["why"] for line in lost].count(True) == 1
    running.system.start_secret_sync()
    running.system.start_webhook()
    running.kube.mirror(one("late"))
    until(lambda: complete(running.kube, "late"), why="mirrors are reconciled")


def test_20_random_kills_end_in_the_same_objects(own: Running) -> None:
    """No object is missing or duplicated, and each equals that of an undisturbed mirror."""
    own.kube.mirror(one("undisturbed"))
    until(lambda: complete(own.kube, "undisturbed"), why="the undisturbed mirror is complete")
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")  # noqa: T201 (to repeat a failure)
    dice = random.Random(seed)  # noqa: S311 (no secret)
    names = ["undisturbed"]
    for round_number in range(20):
        batch = [f"k{round_number}-{letter}" for letter in "abc"]
        for name in batch:
            own.kube.mirror(one(name))
        names += batch
        _kill_after_election(own, dice.uniform(0.0, 0.2))
        own.system.launch_controller()
    for name in names:
        until(lambda name=name: complete(own.kube, name), why=f"{name} is complete", seconds=60)  # type: ignore[misc]
    expected = normal_form(own.kube, "undisturbed")
    for name in names:
        until(lambda name=name: normal_form(own.kube, name) == expected, why=f"{name} equals the undisturbed one")  # type: ignore[misc]
    for kind, suffix in CHILDREN:
        found = own.kube.every(kind, labelSelector="app=docker-registry")
        own_kind = [each for each in found if each["metadata"]["name"].endswith("-headless") == bool(suffix)]
        assert len(own_kind) == len(names), kind.name


def _kill_after_election(running: Running, seconds: float) -> None:
    """Kill the controller some seconds after its election, and delete its lease to save 15 s."""
    port = running.system.metrics_port
    until(lambda: leads(port), why="it leads")
    time.sleep(seconds)  # the random point in time
    running.system.processes.kill("controller", signal.SIGKILL)
    until(lambda: not running.system.processes.alive("controller"), why="it is dead")
    with contextlib.suppress(AssertionError):
        running.kube.delete(resources.LEASE, "registrymirror-controller")
