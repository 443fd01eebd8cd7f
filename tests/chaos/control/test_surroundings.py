"""Test the loss of the API server, etcd, network, CRD and namespace, and a conflicting writer."""

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
# Seconds of a fault that outlasts the lease.
LONG = LEASE_DURATION + 2.0
NAMESPACES = Kind("v1", "namespaces", "Namespace", namespaced=False)


class Behind:
    """Run a controller behind a proxy."""

    def __init__(self, running: Running, proxy: Proxy) -> None:
        self.running, self.proxy, self.kube = running, proxy, running.kube

    def mirrors(self, batch: str, number: int = MANY) -> list[str]:
        """Create mirrors and return their names."""
        names = [f"way-{batch}-{each}" for each in range(number)]
        for name in names:
            self.kube.mirror(one(name))
        return names

    def equal_undisturbed(self, names: list[str], seconds: float = 60) -> None:
        """Wait until each mirror is complete and equals an undisturbed one."""
        for name in names:
            until(lambda name=name: complete(self.kube, name), why=f"{name} is complete", seconds=seconds)  # type: ignore[misc]
        expected = normal_form(self.kube, "undisturbed")
        for name in names:
            same = lambda name=name: normal_form(self.kube, name) == expected  # noqa: E731
            until(same, why=f"{name} equals the undisturbed one", seconds=seconds)

    def delete(self, names: list[str]) -> None:
        """Delete mirrors without waiting; the garbage collector takes 20 objects a second."""
        for name in names:
            self.kube.delete(resources.MIRROR, name)

    def leads(self) -> bool:
        """Return True if the controller is the leader."""
        return leads(self.running.system.metrics_port)

    def logged(self, event: str) -> int:
        """Return how often it has logged the event."""
        return events_of(self.running, "controller").count(event)


@pytest.fixture(scope="module")
def behind(ground: Callable[..., Running]) -> Iterator[Behind]:
    """Return a controller behind a proxy, with webhook and cluster."""
    running = ground(SECONDS_BETWEEN_STREAMS="2")
    argv = running.system.processes.record(API_SERVER).argv
    with Proxy(port_of(argv)) as proxy:
        running.system.start_controller(KUBECONFIG=str(proxy.kubeconfig(running.cluster, USER, GROUPS)))
        running.system.start_courier()
        running.system.start_webhook()
        until_served(running)
        yield Behind(running, proxy)


@pytest.mark.parametrize("component", [API_SERVER, ETCD])
def test_outage_beyond_the_lease(behind: Behind, chaos: Chaos, component: str) -> None:
    """The twelve reconciles under way are finished afterwards."""
    cluster = behind.running.cluster
    names = behind.mirrors("a" if component == API_SERVER else "e")
    lost = behind.logged("lost leader election")
    cluster.kill(component)
    began = time.monotonic()
    until(lambda: behind.logged("lost leader election") > lost, why="it lost the election", seconds=LONG)
    time.sleep(max(0.0, began + LONG - time.monotonic()))  # the duration of the fault
    cluster.start_component(component)
    back = time.monotonic()
    behind.equal_undisturbed(names)
    chaos.row(
        f"{component} killed for {LONG:.0f} s, {MANY} mirrors in work",
        lost=f"0 of {len(names)} mirrors",
        recovered=time.monotonic() - back,
    )
    assert behind.logged("reconcile crashed") == 0
    behind.delete(names)


def test_network_loss_beyond_the_lease(behind: Behind, chaos: Chaos) -> None:
    """Mirrors created, changed and deleted meanwhile are reconciled afterwards."""
    kube, changed = behind.kube, behind.mirrors("n", 3)
    behind.equal_undisturbed(changed)
    lost = behind.logged("lost leader election")
    behind.proxy.drop()
    began = time.monotonic()
    names = behind.mirrors("d")
    kube.delete(resources.SERVICE, f"registry-mirror-{changed[0]}")
    kube.patch(resources.STATEFUL_SET, f"registry-mirror-{changed[1]}", {"spec": {"replicas": 0}})
    kube.delete(resources.MIRROR, changed[2])
    until(lambda: behind.logged("lost leader election") > lost, why="it lost the election", seconds=LONG)
    time.sleep(max(0.0, began + LONG - time.monotonic()))  # the duration of the fault
    behind.proxy.restore()
    back = time.monotonic()
    behind.equal_undisturbed([*names, *changed[:2]])
    for kind, suffix in CHILDREN:
        kube.until_gone(kind, f"registry-mirror-{changed[2]}{suffix}")
    took = time.monotonic() - back
    behind.delete([*names, *changed[:2]])
    chaos.row(
        f"network to the API server lost for {LONG:.0f} s, {MANY} mirrors in work",
        lost=f"0 of {len(names) + len(changed)} changes",
        recovered=took,
    )


def test_slow_network(behind: Behind, chaos: Chaos) -> None:
    """With half a second per response the controller stays the leader."""
    until(behind.leads, why="it leads")
    lost = behind.logged("lost leader election")
    behind.proxy.slow(0.25)
    began = time.monotonic()
    try:
        names = behind.mirrors("w")
        behind.equal_undisturbed(names)
    finally:
        behind.proxy.slow(0.0)
    took = time.monotonic() - began
    behind.delete(names)
    assert behind.logged("lost leader election") == lost
    chaos.row(f"network with 0.25 s each way, {MANY} mirrors made", lost=f"0 of {len(names)} mirrors", recovered=took)


def test_broken_connections(behind: Behind, chaos: Chaos) -> None:
    names = behind.mirrors("c")
    for _ in range(20):
        behind.proxy.cut()
        time.sleep(0.1)  # seconds between two cuts
    began = time.monotonic()
    behind.equal_undisturbed(names)
    behind.delete(names)
    chaos.row(
        f"all connections broken 20 times, {MANY} mirrors in work",
        lost=f"0 of {len(names)} mirrors",
        recovered=time.monotonic() - began,
    )


def test_conflicting_writer_of_all_objects(behind: Behind, chaos: Chaos) -> None:
    """Repairs are rare, Events report the conflict, and all objects are repaired at the end."""
    kube, name = behind.kube, "fought"
    kube.mirror(one(name))
    behind.equal_undisturbed([name])
    began = time.time()
    with _conflicting_writer(behind.running, name) as edits:
        kinds = {"Secret", "Service", "StatefulSet", "DaemonSet", "PodDisruptionBudget"}
        until(lambda: _conflicts_reported(kube, name) == kinds, why="an Event reports each", seconds=30)
        reported = time.time() - began
        names = behind.mirrors("x", 3)
        behind.equal_undisturbed(names)
        until(lambda: time.time() - began > 10, why="10 s to count")
        count = len(edits)
    over = time.time()
    child = f"registry-mirror-{name}"
    repairs = [each for each in requests(behind.running.cluster, user=USER) if each.accepted and each.name == child]
    repairs = [each for each in repairs if began <= each.at <= over]
    behind.equal_undisturbed([name])  # the next repairs follow within half a minute
    # Five repairs of each kind at once, then one each half minute.
    assert len(repairs) <= len(kinds) * (FREE_REPAIRS + 1), repairs
    assert count > 3 * len(repairs), "most edits were not repaired at once"
    note = f"{count} edits, {len(repairs)} repairs in {over - began:.0f} s; told by Events"
    chaos.row(
        "others change all objects of a mirror in a loop",
        lost=f"0 of {len(kinds)} objects",
        condition=reported,
        recovered=time.time() - over,
        note=note,
    )


def _conflicts_reported(kube: Kube, name: str) -> set[str]:
    """Return the kinds for which an Event reports a conflicting writer."""
    return {note.split()[4] for _, reason, note in kube.events(name) if reason == "ConflictingWriter"}


@contextmanager
def _conflicting_writer(running: Running, name: str) -> Iterator[list[str]]:
    """Change each object of a mirror in a loop while the context is open. Yield the edits."""
    child, edits, over = f"registry-mirror-{name}", list[str](), threading.Event()
    edits_of: list[tuple[Kind, Json]] = [
        (resources.SECRET, {"data": {"tls.key": ""}}),
        (resources.SERVICE, {"spec": {"sessionAffinity": "None"}}),
        (resources.STATEFUL_SET, {"spec": {"replicas": 0}}),
        (resources.DAEMON_SET, {"metadata": {"labels": {"app": "mine"}}}),
        (resources.BUDGET, {"spec": {"maxUnavailable": 0}}),
    ]

    def change() -> None:
        other = Kube(running.cluster)
        while not over.wait(0.02):
            for kind, patch in edits_of:
                edits.append(kind.name)
                other.patch(kind, child, patch)
        other.close()

    thread = threading.Thread(target=change)
    thread.start()
    try:
        yield edits
    finally:
        over.set()
        thread.join()


def test_deleted_crd(behind: Behind, chaos: Chaos) -> None:
    """Its deletion deletes all mirrors and their objects; later mirrors are reconciled."""
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
    behind.equal_undisturbed(behind.mirrors("r", 3))
    assert behind.running.system.processes.alive("controller")


def test_terminating_namespace(behind: Behind, chaos: Chaos) -> None:
    """Conditions report it, requests are few, and the controller recovers with the new namespace."""
    kube, running = behind.kube, behind.running
    held = {"metadata": {"name": "holds", "finalizers": ["example.com/hold"]}}
    kube.create(resources.CONFIG_MAP, held)
    mirrors = [each["metadata"]["name"] for each in kube.every(resources.MIRROR)]
    began = time.monotonic()
    kube.kubectl("delete", "namespace", NAMESPACE, "--wait=false")
    reported = lambda: all(_reports_refusal(kube, name) for name in mirrors)  # noqa: E731
    until(reported, why="each mirror reports the refusal", seconds=30)
    condition = time.monotonic() - began
    until(lambda: not behind.leads(), why="the lease is gone too", seconds=LONG)
    since = time.time()
    time.sleep(10)  # seconds to count requests
    asked = [each for each in requests(running.cluster, user=USER) if each.at > since]
    assert len(asked) < 100, "ten a second: a read of the lease each 2 s, and retried watches"
    assert behind.logged("reconcile crashed") == 0
    kube.json_patch(resources.CONFIG_MAP, "holds", {"op": "remove", "path": "/metadata/finalizers"})
    until(lambda: kube.find(NAMESPACES, NAMESPACE) is None, why="the namespace is gone", seconds=60)
    running.system.install()
    back = time.monotonic()
    behind.equal_undisturbed(mirrors)
    until(lambda: not any(_reports_refusal(kube, name) for name in mirrors), why="no mirror reports it any more")
    recovered = time.monotonic() - back
    until(lambda: _is_accepted(kube, "afterwards"), why="the webhook has a certificate of the new CA", seconds=30)
    behind.equal_undisturbed(["afterwards"])
    chaos.row(
        "namespace stuck in deletion, then made again",
        lost=f"0 of {len(mirrors)} mirrors",
        condition=condition,
        recovered=recovered,
    )


def _reports_refusal(kube: Kube, name: str) -> bool:
    conditions = kube.conditions(name)
    refused = conditions.get("CacheAvailable", ("", "", ""))[1] in ("ApplyFailed", "CAFailed")
    return refused or conditions.get("Reconciled", ("", "", ""))[0] == "False"


def _is_accepted(kube: Kube, name: str) -> bool:
    """Return True if a mirror was accepted; it is refused until the API server trusts the webhook."""
    output = kube.apply(json.loads(json.dumps(one(name).raw())))
    return "created" in output or "unchanged" in output
