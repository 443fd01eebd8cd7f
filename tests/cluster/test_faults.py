"""Faults of what is around the controller, and of the controller itself: nothing is lost, nothing is made twice."""

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


def test_the_api_server_killed_in_the_middle_of_20_reconciles_costs_nothing_but_time(own: Running) -> None:
    names = [f"m{number}" for number in range(20)]
    for name in names:
        own.kube.mirror(one(name))
    own.cluster.kill_apiserver()
    own.cluster.start_apiserver()
    for name in names:
        # It refuses for a second until it knows the rights of anybody, and what it refused is soon asked again.
        until(lambda name=name: complete(own.kube, name), why=f"{name} is complete", seconds=30)  # type: ignore[misc]
    assert "reconcile crashed" not in events_of(own, "controller")
    # A kind that no mirror had to wait for is asked for again after 3 s at most.
    until(lambda: told(own, "watch lost") == told(own, "watch restored"), why="all watches are restored")
    lost = [line["kind"] for line in log_of(own, "controller") if line["event"] == "watch lost"]
    assert max(map(lost.count, lost)) <= 2, "told once, and once more where the API server was back before the CRD"


def told(running: Running, event: str) -> int:
    """How often the controller has said so."""
    return events_of(running, "controller").count(event)


async def test_an_expired_resource_version_is_told_as_gone(fresh: Callable[..., Running]) -> None:
    """410: an API server that was started since knows no history from before."""
    cluster = fresh(controllers=False).cluster
    cluster.kill_apiserver()
    cluster.start_apiserver()
    configuration = await load_configuration(str(cluster.kubeconfig))
    async with KubeClient(configuration) as door:
        store, restarts = Store(), list[str]()
        stale: Any = _Stale(door)
        watch = Reflector(stale, resources.SECRET, NAMESPACE, store, logger("ERROR", "test"), 1.0, restarts.append)
        with pytest.raises(Gone):
            await watch.list_then_watch()


class _Stale:
    """The real door, but lists are said to have been read at a version that is long past."""

    def __init__(self, door: KubeClient) -> None:
        self.door = door

    async def pages(
        self, kind: resources.Kind, namespace: str | None, selector: str = ""
    ) -> AsyncIterator[tuple[list[Json], str]]:
        async for items, _ in self.door.pages(kind, namespace, selector):
            yield items, "1"

    def watch(
        self, kind: resources.Kind, namespace: str | None, version: str, selector: str = ""
    ) -> AbstractAsyncContextManager[AsyncIterator[Json]]:
        return self.door.watch(kind, namespace, version, selector)


async def test_a_watch_that_is_silent_for_long_goes_on_where_it_was(
    kube: Kube, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With nothing listed again, nor told as lost: an API server may have nothing to say for hours."""
    monkeypatch.setattr("controller.kubeclient.client.WATCH_SILENCE", 1.5 * SHORTEST_STREAM)
    configuration = await load_configuration(str(kube.cluster.kubeconfig))
    async with KubeClient(configuration) as door:
        store, restarts, counted = Store(), list[str](), _Counted(door)
        watch = Reflector(
            cluster=counted,  # type: ignore[arg-type]
            kind=resources.CONFIG_MAP,
            namespace=NAMESPACE,
            store=store,
            log=logger("ERROR", "test"),
            longest_wait=1.0,
            on_restart=restarts.append,
            selector="metadata.name=silent",
        )
        following = asyncio.create_task(watch.run())
        async with asyncio.timeout(30):
            await counted.until(3)
            made = await door.create(resources.CONFIG_MAP, NAMESPACE, {"metadata": {"name": "silent"}})
            while "silent" not in store:  # noqa: ASYNC110 (a state is waited for, not an event)
                await asyncio.sleep(0.01)
            await door.delete(resources.CONFIG_MAP, NAMESPACE, made)
        following.cancel()
    assert restarts == []


class _Counted:
    """The real door, with its watches counted."""

    def __init__(self, door: KubeClient) -> None:
        self.door, self.watches = door, 0
        self.pages = door.pages

    def watch(
        self, kind: resources.Kind, namespace: str | None, version: str, selector: str = ""
    ) -> AbstractAsyncContextManager[AsyncIterator[Json]]:
        self.watches += 1
        return self.door.watch(kind, namespace, version, selector)

    async def until(self, watches: int) -> None:
        while self.watches < watches:  # noqa: ASYNC110 (a state is waited for, not an event)
            await asyncio.sleep(0.05)


async def test_the_clients_own_exceptions_never_pass_the_door(kube: Kube) -> None:
    configuration = await load_configuration(str(kube.cluster.kubeconfig))
    async with KubeClient(configuration) as door:
        for kind, name in ((resources.SECRET, "no-such"), (resources.Kind("v1", "nonsenses", "Nonsense"), "x")):
            with pytest.raises(ClusterError):
                await door.get(kind, NAMESPACE, name)
        with pytest.raises(ClusterError):
            await door.create(resources.SERVICE, NAMESPACE, {"metadata": {"name": "UPPER"}})
    configuration.host = "https://127.0.0.1:1"
    async with KubeClient(configuration) as door:
        with pytest.raises(ClusterError):
            await anext(door.pages(resources.SECRET, NAMESPACE))
    with pytest.raises(ClusterError, match="no way to the cluster"):
        await load_configuration("/nowhere/kubeconfig")


def test_a_missing_definition_is_waited_for_told_once_and_taken_up(fresh: Callable[..., Running]) -> None:
    running = fresh(SECONDS_BETWEEN_STREAMS="1")
    running.kube.kubectl("delete", "crd", "registrymirrors.k8s.osp.tech")
    port = running.system.launch_controller()
    until(lambda: "watch lost" in events_of(running, "controller"), why="it says that the definition is missing")
    until(lambda: (page(port, "/metrics") or "").count('reason="lost"') >= 1, why="it tries again")
    assert page(port, "/healthz") == "ok\n"
    assert page(port, "/readyz") is None
    running.system.install()
    until(lambda: page(port, "/readyz"), why="it is ready once the definition is there")
    lost = [line for line in log_of(running, "controller") if line["event"] == "watch lost"]
    assert {line["kind"] for line in lost} == {"RegistryMirror"}
    # One that is just there may be lost again for a moment, while the API server makes room for it.
    assert ["is the CustomResourceDefinition installed?" in line["why"] for line in lost].count(True) == 1
    running.system.start_courier()
    running.system.start_webhook()
    running.kube.mirror(one("late"))
    until(lambda: complete(running.kube, "late"), why="mirrors are served")


def test_killed_20_times_at_random_points_it_ends_in_the_same_objects(own: Running) -> None:
    """None twice, none missing, and each as that of a mirror that was made undisturbed."""
    own.kube.mirror(one("undisturbed"))
    until(lambda: complete(own.kube, "undisturbed"), why="the one to compare with")
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")  # noqa: T201 (what a failure is repeated with)
    dice = random.Random(seed)  # noqa: S311 (no secret)
    names = ["undisturbed"]
    for round_number in range(20):
        batch = [f"k{round_number}-{letter}" for letter in "abc"]
        for name in batch:
            own.kube.mirror(one(name))
        names += batch
        _at_work_then_killed(own, dice.uniform(0.0, 0.2))
        own.system.launch_controller()
    for name in names:
        until(lambda name=name: complete(own.kube, name), why=f"{name} is complete", seconds=60)  # type: ignore[misc]
    expected = normal_form(own.kube, "undisturbed")
    for name in names:
        until(lambda name=name: normal_form(own.kube, name) == expected, why=f"{name} is like any other")  # type: ignore[misc]
    for kind, suffix in CHILDREN:
        found = own.kube.every(kind, labelSelector="app=docker-registry")
        ours = [each for each in found if each["metadata"]["name"].endswith("-headless") == bool(suffix)]
        assert len(ours) == len(names), kind.name


def _at_work_then_killed(running: Running, seconds: float) -> None:
    """Kills the controller so many seconds after it began to lead; its lease is taken from it, to save 15 s."""
    port = running.system.metrics_port
    until(lambda: leads(port), why="it leads")
    time.sleep(seconds)  # the random point in time that this is about
    running.system.processes.kill("controller", signal.SIGKILL)
    until(lambda: not running.system.processes.alive("controller"), why="it is dead")
    with contextlib.suppress(AssertionError):
        running.kube.delete(resources.LEASE, "registrymirror-controller")
