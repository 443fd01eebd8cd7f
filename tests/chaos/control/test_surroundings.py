"""What is around the controller goes: API server, etcd, network, its definition, its namespace; or fights with it."""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from controller.apply.conflict_limiter import FREE_REPAIRS
from controller.objects import resources
from controller.objects.lease import LEASE_DURATION
from controller.objects.resources import Kind
from tests.chaos.control.conftest import until_served
from tests.localcluster.commands import API_SERVER, ETCD
from tests.localcluster.probe import port_of
from tests.localcluster.system import CONTROLLER, NAMESPACE
from tests.support.audit import requests
from tests.support.faults import CHILDREN, complete, events_of, leads, normal_form, one
from tests.support.kube import Kube, until
from tests.support.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from common.types import Json
    from tests.cluster.conftest import Running
    from tests.support.chaos import Chaos

USER = f"system:serviceaccount:{NAMESPACE}:{CONTROLLER}"
GROUPS = ["system:serviceaccounts", f"system:serviceaccounts:{NAMESPACE}"]
MANY = 12
# Seconds that a fault lasts which is to be longer than the lease.
LONG = LEASE_DURATION + 2.0
SPACE = Kind("v1", "namespaces", "Namespace", namespaced=False)


class Behind:
    """A controller that sees its cluster through a proxy."""

    def __init__(self, running: Running, proxy: Proxy) -> None:
        self.running, self.proxy, self.kube = running, proxy, running.kube

    def mirrors(self, batch: str, number: int = MANY) -> list[str]:
        """Makes so many, without waiting for anything."""
        names = [f"way-{batch}-{each}" for each in range(number)]
        for name in names:
            self.kube.mirror(one(name))
        return names

    def right(self, names: list[str], seconds: float = 60) -> None:
        """Each is complete, and as one that was made undisturbed; none is there that should not be."""
        for name in names:
            until(lambda name=name: complete(self.kube, name), why=f"{name} is complete", seconds=seconds)  # type: ignore[misc]
        expected = normal_form(self.kube, "undisturbed")
        for name in names:
            same = lambda name=name: normal_form(self.kube, name) == expected  # noqa: E731
            until(same, why=f"{name} is like any other", seconds=seconds)

    def gone(self, names: list[str]) -> None:
        """Deletes them, and waits for nothing: Kubernetes' collector of garbage takes twenty objects a second."""
        for name in names:
            self.kube.delete(resources.MIRROR, name)

    def leads(self) -> bool:
        """Whether the controller says that it does."""
        return leads(self.running.system.metrics_port)

    def told(self, event: str) -> int:
        """How often it has logged that."""
        return events_of(self.running, "controller").count(event)


@pytest.fixture(scope="module")
def behind(ground: Callable[..., Running]) -> Iterator[Behind]:
    """The whole of it, at work."""
    running = ground(SECONDS_BETWEEN_STREAMS="2")
    argv = running.system.processes.record(API_SERVER).argv
    with Proxy(port_of(argv)) as proxy:
        running.system.start_controller(KUBECONFIG=str(proxy.kubeconfig(running.cluster, USER, GROUPS)))
        running.system.start_courier()
        running.system.start_webhook()
        until_served(running)
        yield Behind(running, proxy)


@pytest.mark.parametrize("component", [API_SERVER, ETCD])
def test_away_for_longer_than_the_lease(behind: Behind, chaos: Chaos, component: str) -> None:
    """In the midst of twelve reconciles: when it is back they are finished, and nothing is lost."""
    cluster = behind.running.cluster
    names = behind.mirrors("a" if component == API_SERVER else "e")
    lost = behind.told("lost leader election")
    cluster.kill(component)
    gone = time.monotonic()
    until(lambda: behind.told("lost leader election") > lost, why="it leads no more", seconds=LONG)
    time.sleep(max(0.0, gone + LONG - time.monotonic()))  # so long the fault lasts
    cluster.start_component(component)
    back = time.monotonic()
    behind.right(names)
    chaos.row(
        f"{component} killed for {LONG:.0f} s, {MANY} mirrors in work",
        lost=f"0 of {len(names)} mirrors",
        recovered=time.monotonic() - back,
    )
    assert behind.told("reconcile crashed") == 0
    behind.gone(names)


def test_a_network_that_loses_everything_for_longer_than_the_lease(behind: Behind, chaos: Chaos) -> None:
    """What was done meanwhile (made, broken, deleted) is seen to when it is back."""
    kube, changed = behind.kube, behind.mirrors("n", 3)
    behind.right(changed)
    lost = behind.told("lost leader election")
    behind.proxy.drop()
    gone = time.monotonic()
    names = behind.mirrors("d")
    kube.delete(resources.SERVICE, f"registry-mirror-{changed[0]}")
    kube.patch(resources.STATEFUL_SET, f"registry-mirror-{changed[1]}", {"spec": {"replicas": 0}})
    kube.delete(resources.MIRROR, changed[2])
    until(lambda: behind.told("lost leader election") > lost, why="it leads no more", seconds=LONG)
    time.sleep(max(0.0, gone + LONG - time.monotonic()))  # so long the fault lasts
    behind.proxy.restore()
    back = time.monotonic()
    behind.right([*names, *changed[:2]])
    for kind, suffix in CHILDREN:
        kube.until_gone(kind, f"registry-mirror-{changed[2]}{suffix}")
    took = time.monotonic() - back
    behind.gone([*names, *changed[:2]])
    chaos.row(
        f"network to the API server lost for {LONG:.0f} s, {MANY} mirrors in work",
        lost=f"0 of {len(names) + len(changed)} changes",
        recovered=took,
    )


def test_a_network_that_is_slow(behind: Behind, chaos: Chaos) -> None:
    """Half a second for each answer: it goes on leading, and all gets done."""
    until(behind.leads, why="it leads")
    lost = behind.told("lost leader election")
    behind.proxy.slow(0.25)
    began = time.monotonic()
    try:
        names = behind.mirrors("w")
        behind.right(names)
    finally:
        behind.proxy.slow(0.0)
    took = time.monotonic() - began
    behind.gone(names)
    assert behind.told("lost leader election") == lost
    chaos.row(f"network with 0.25 s each way, {MANY} mirrors made", lost=f"0 of {len(names)} mirrors", recovered=took)


def test_a_network_that_breaks_every_connection_again_and_again(behind: Behind, chaos: Chaos) -> None:
    names = behind.mirrors("c")
    for _ in range(20):
        behind.proxy.cut()
        time.sleep(0.1)  # so often it breaks
    began = time.monotonic()
    behind.right(names)
    behind.gone(names)
    chaos.row(
        f"all connections broken 20 times, {MANY} mirrors in work",
        lost=f"0 of {len(names)} mirrors",
        recovered=time.monotonic() - began,
    )


def test_others_who_change_all_objects_of_a_mirror_in_a_loop(behind: Behind, chaos: Chaos) -> None:
    """Few writes, the truth in Events, and all is right when they leave it alone."""
    kube, name = behind.kube, "fought"
    kube.mirror(one(name))
    behind.right([name])
    began = time.time()
    with _fight(behind.running, name) as edits:
        fought = {"Secret", "Service", "StatefulSet", "DaemonSet", "PodDisruptionBudget"}
        until(lambda: _fights_told(kube, name) == fought, why="an Event tells of each", seconds=30)
        told = time.time() - began
        names = behind.mirrors("x", 3)
        behind.right(names)
        until(lambda: time.time() - began > 10, why="a while to count over")
        count = len(edits)
    over = time.time()
    child = f"registry-mirror-{name}"
    repairs = [each for each in requests(behind.running.cluster, user=USER) if each.accepted and each.name == child]
    repairs = [each for each in repairs if began <= each.at <= over]
    behind.right([name])  # the next repair of each comes within half a minute
    # Five of each at once, and one in half a minute.
    assert len(repairs) <= len(fought) * (FREE_REPAIRS + 1), repairs
    assert count > 3 * len(repairs), "it was outnumbered"
    note = f"{count} edits, {len(repairs)} repairs in {over - began:.0f} s; told by Events"
    chaos.row(
        "others change all objects of a mirror in a loop",
        lost=f"0 of {len(fought)} objects",
        condition=told,
        recovered=time.time() - over,
        note=note,
    )


def _fights_told(kube: Kube, name: str) -> set[str]:
    """The kinds of objects of which an Event says that somebody keeps changing them."""
    return {note.split()[3] for _, reason, note in kube.events(name) if reason == "ConflictingWriter"}


@contextmanager
def _fight(running: Running, name: str) -> Iterator[list[str]]:
    """Another client that changes each object of a mirror as fast as it can; yields what it did."""
    child, edits, over = f"registry-mirror-{name}", list[str](), threading.Event()
    ways: list[tuple[Kind, Json]] = [
        (resources.SECRET, {"data": {"tls.key": ""}}),
        (resources.SERVICE, {"spec": {"sessionAffinity": "None"}}),
        (resources.STATEFUL_SET, {"spec": {"replicas": 0}}),
        (resources.DAEMON_SET, {"metadata": {"labels": {"app": "mine"}}}),
        (resources.BUDGET, {"spec": {"maxUnavailable": 0}}),
    ]

    def fight() -> None:
        other = Kube(running.cluster)
        while not over.wait(0.02):
            for kind, change in ways:
                edits.append(kind.name)
                other.patch(kind, child, change)
        other.close()

    thread = threading.Thread(target=fight)
    thread.start()
    try:
        yield edits
    finally:
        over.set()
        thread.join()


def test_its_definition_is_deleted_and_made_again(behind: Behind, chaos: Chaos) -> None:
    """With it go all mirrors and what was made for them; those that are made afterwards are served."""
    kube = behind.kube
    kube.kubectl("delete", "crd", "registrymirrors.k8s.osp.tech", "--timeout=60s")
    for kind in resources.CHILDREN:
        left = lambda kind=kind: kube.every(kind, labelSelector="app=docker-registry")  # noqa: E731
        until(lambda left=left: not left(), why=f"{kind.name}s go with their mirrors", seconds=120)  # type: ignore[misc]
    behind.running.system.install()
    began = time.monotonic()
    until_served(behind.running)
    chaos.row(
        "definition (CRD) deleted and made again",
        lost="all mirrors, as with any definition",
        recovered=time.monotonic() - began,
    )
    behind.right(behind.mirrors("r", 3))
    assert behind.running.system.processes.alive("controller")


def test_its_namespace_does_not_go_and_is_made_again(behind: Behind, chaos: Chaos) -> None:
    """It says so, asks little meanwhile, and begins anew when the namespace and its roles are there again."""
    kube, running = behind.kube, behind.running
    held = {"metadata": {"name": "holds", "finalizers": ["example.com/hold"]}}
    kube.create(resources.CONFIG_MAP, held)
    mirrors = [each["metadata"]["name"] for each in kube.every(resources.MIRROR)]
    began = time.monotonic()
    kube.kubectl("delete", "namespace", NAMESPACE, "--wait=false")
    told = lambda: all(_says_that_it_cannot(kube, name) for name in mirrors)  # noqa: E731
    until(told, why="each mirror says that its objects cannot be made", seconds=30)
    condition = time.monotonic() - began
    until(lambda: not behind.leads(), why="the lease is gone too", seconds=LONG)
    since = time.time()
    time.sleep(10)  # long enough to count over
    asked = [each for each in requests(running.cluster, user=USER) if each.at > since]
    assert len(asked) < 100, "ten a second: a look at the lease every other second, watches that are tried again"
    assert behind.told("reconcile crashed") == 0
    kube.json_patch(resources.CONFIG_MAP, "holds", {"op": "remove", "path": "/metadata/finalizers"})
    until(lambda: kube.find(SPACE, NAMESPACE) is None, why="the namespace is gone", seconds=60)
    running.system.install()
    back = time.monotonic()
    behind.right(mirrors)
    until(lambda: not any(_says_that_it_cannot(kube, name) for name in mirrors), why="none says that any more")
    recovered = time.monotonic() - back
    until(lambda: _made(kube, "afterwards"), why="the webhook has a certificate of the new authority", seconds=30)
    behind.right(["afterwards"])
    chaos.row(
        "namespace stuck in deletion, then made again",
        lost=f"0 of {len(mirrors)} mirrors",
        condition=condition,
        recovered=recovered,
    )


def _says_that_it_cannot(kube: Kube, name: str) -> bool:
    said = kube.conditions(name)
    refused = said.get("CacheAvailable", ("", "", ""))[1] in ("ApplyFailed", "CAFailed")
    return refused or said.get("Reconciled", ("", "", ""))[0] == "False"


def _made(kube: Kube, name: str) -> bool:
    """Whether a mirror was taken; while the API server does not trust the webhook it is refused."""
    said = kube.apply(json.loads(json.dumps(one(name).raw())))
    return "created" in said or "unchanged" in said
