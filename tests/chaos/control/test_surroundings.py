"""Test the loss of the API server, etcd, network, CRD and namespace, and a conflicting writer."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from controller.apply.conflict_limiter import FREE_REPAIRS
from controller.objects import resources
from controller.objects.lease import LEASE_DURATION
from controller.objects.resources import Kind
from tests.chaos.control.conftest import until_served
from tests.localcluster.commands import API_SERVER, ETCD
from tests.localcluster.system import NAMESPACE
from tests.support.audit import requests
from tests.support.conflicts import conflicting_writer
from tests.support.faults import CHILDREN, one
from tests.support.kube import Kube, until
from tests.support.protection import unprotect
from tests.support.proxied import MANY, USER, Proxied, proxy_before

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from common.types import Json
    from tests.cluster.conftest import Running
    from tests.support.chaos import Chaos

# Seconds of a fault that outlasts the lease.
LONG = LEASE_DURATION + 2.0
NAMESPACES = Kind("v1", "namespaces", "Namespace", namespaced=False)
EDITS: list[tuple[Kind, Json]] = [
    (resources.SECRET, {"data": {"tls.key": ""}}),
    (resources.SERVICE, {"spec": {"sessionAffinity": "None"}}),
    (resources.STATEFUL_SET, {"spec": {"replicas": 0}}),
    (resources.DAEMON_SET, {"metadata": {"labels": {"app": "mine"}}}),
    (resources.BUDGET, {"spec": {"maxUnavailable": 0}}),
]


@pytest.fixture(scope="module")
def proxied(ground: Callable[..., Running]) -> Iterator[Proxied]:
    """Return a controller proxied a proxy, with the webhook."""
    running = ground(SECONDS_BETWEEN_STREAMS="2")
    with proxy_before(running) as proxy:
        proxied = Proxied(running, proxy)
        running.system.start_secret_sync()
        running.system.start_webhook()
        until_served(running)
        yield proxied


@pytest.mark.parametrize("component", [API_SERVER, ETCD])
def test_outage_beyond_the_lease(proxied: Proxied, chaos: Chaos, component: str) -> None:
    """The twelve reconciles under way are finished afterwards."""
    cluster = proxied.running.cluster
    names = proxied.create("a" if component == API_SERVER else "e")
    lost = proxied.logged("lost leader election")
    cluster.kill(component)
    began = time.monotonic()
    until(lambda: proxied.logged("lost leader election") > lost, why="it lost the election", seconds=LONG)
    time.sleep(max(0.0, began + LONG - time.monotonic()))  # the duration of the fault
    cluster.start_component(component)
    back = time.monotonic()
    proxied.equal_undisturbed(names)
    chaos.row(
        f"{component} killed for {LONG:.0f} s, {MANY} mirrors in work",
        lost=f"0 of {len(names)} mirrors",
        recovered=time.monotonic() - back,
    )
    assert proxied.logged("reconcile crashed") == 0
    proxied.delete(names)


def test_network_loss_beyond_the_lease(proxied: Proxied, chaos: Chaos) -> None:
    """Mirrors created, changed and deleted meanwhile are reconciled afterwards."""
    kube, changed = proxied.kube, proxied.create("n", 3)
    proxied.equal_undisturbed(changed)
    lost = proxied.logged("lost leader election")
    proxied.proxy.drop()
    began = time.monotonic()
    names = proxied.create("d")
    kube.delete(resources.SERVICE, f"registry-mirror-{changed[0]}")
    kube.patch(resources.STATEFUL_SET, f"registry-mirror-{changed[1]}", {"spec": {"replicas": 0}})
    kube.delete(resources.MIRROR, changed[2])
    until(lambda: proxied.logged("lost leader election") > lost, why="it lost the election", seconds=LONG)
    time.sleep(max(0.0, began + LONG - time.monotonic()))  # the duration of the fault
    proxied.proxy.restore()
    back = time.monotonic()
    proxied.equal_undisturbed([*names, *changed[:2]])
    for kind, suffix in CHILDREN:
        kube.until_gone(kind, f"registry-mirror-{changed[2]}{suffix}")
    took = time.monotonic() - back
    proxied.delete([*names, *changed[:2]])
    chaos.row(
        f"network to the API server lost for {LONG:.0f} s, {MANY} mirrors in work",
        lost=f"0 of {len(names) + len(changed)} changes",
        recovered=took,
    )


def test_slow_network(proxied: Proxied, chaos: Chaos) -> None:
    """With half a second per response the controller stays the leader."""
    until(proxied.leads, why="it leads")
    lost = proxied.logged("lost leader election")
    proxied.proxy.slow(0.25)
    began = time.monotonic()
    try:
        names = proxied.create("w")
        proxied.equal_undisturbed(names)
    finally:
        proxied.proxy.slow(0.0)
    took = time.monotonic() - began
    proxied.delete(names)
    assert proxied.logged("lost leader election") == lost
    chaos.row(f"network with 0.25 s each way, {MANY} mirrors made", lost=f"0 of {len(names)} mirrors", recovered=took)


def test_broken_connections(proxied: Proxied, chaos: Chaos) -> None:
    names = proxied.create("c")
    for _ in range(20):
        proxied.proxy.cut()
        time.sleep(0.1)  # seconds between two cuts
    began = time.monotonic()
    proxied.equal_undisturbed(names)
    proxied.delete(names)
    chaos.row(
        f"all connections broken 20 times, {MANY} mirrors in work",
        lost=f"0 of {len(names)} mirrors",
        recovered=time.monotonic() - began,
    )


def test_conflicting_writer_of_all_objects(proxied: Proxied, chaos: Chaos) -> None:
    """Repairs are rare, Events report the conflict, and all objects are repaired at the end."""
    kube, name = proxied.kube, "fought"
    kube.mirror(one(name))
    proxied.equal_undisturbed([name])
    began = time.time()
    kinds, edits = {kind.name for kind, _ in EDITS}, list[str]()

    def change(client: Kube, _: int) -> None:
        for kind, patch in EDITS:
            edits.append(kind.name)
            client.patch(kind, f"registry-mirror-{name}", patch)

    with conflicting_writer(proxied.running, change, interval=0.02):
        until(lambda: _conflicts_reported(kube, name) == kinds, why="an Event reports each", seconds=30)
        reported = time.time() - began
        names = proxied.create("x", 3)
        proxied.equal_undisturbed(names)
        until(lambda: time.time() - began > 10, why="10 s to count")
        count = len(edits)
    over = time.time()
    child = f"registry-mirror-{name}"
    repairs = [each for each in requests(proxied.running.cluster, user=USER) if each.accepted and each.name == child]
    repairs = [each for each in repairs if began <= each.at <= over]
    proxied.equal_undisturbed([name])  # the next repairs follow within half a minute
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
    notes = [note for _, reason, note in kube.events(name) if reason == "ConflictingWriter"]
    return {kind.name for kind, _ in EDITS if any(f"{kind.name} registry-mirror-{name}" in note for note in notes)}


def test_deleted_crd(proxied: Proxied, chaos: Chaos) -> None:
    """Its deletion deletes all mirrors and their objects; later mirrors are reconciled."""
    kube = proxied.kube
    unprotect(proxied.running.cluster)
    kube.kubectl("delete", "crd", "registrymirrors.k8s.osp.tech", "--timeout=60s")
    for kind in resources.CHILDREN:
        left = lambda kind=kind: kube.every(kind, labelSelector="app=docker-registry")  # noqa: E731
        until(lambda left=left: not left(), why=f"{kind.name}s go with their mirrors", seconds=120)  # type: ignore[misc]
    proxied.running.system.install()
    began = time.monotonic()
    until_served(proxied.running)
    chaos.row(
        "definition (CRD) deleted and made again",
        lost="all mirrors, as with any definition",
        recovered=time.monotonic() - began,
    )
    proxied.equal_undisturbed(proxied.create("r", 3))
    assert proxied.running.system.processes.alive("controller")


def test_terminating_namespace(proxied: Proxied, chaos: Chaos) -> None:
    """Conditions report it, requests are few, and the controller recovers with the new namespace."""
    kube, running = proxied.kube, proxied.running
    held = {"metadata": {"name": "holds", "finalizers": ["example.com/hold"]}}
    kube.create(resources.CONFIG_MAP, held)
    mirrors = [each["metadata"]["name"] for each in kube.every(resources.MIRROR)]
    began = time.monotonic()
    unprotect(running.cluster)
    kube.kubectl("delete", "namespace", NAMESPACE, "--wait=false")
    reported = lambda: all(_reports_refusal(kube, name) for name in mirrors)  # noqa: E731
    until(reported, why="each mirror reports the refusal", seconds=30)
    condition = time.monotonic() - began
    until(lambda: not proxied.leads(), why="the lease is gone too", seconds=LONG)
    since = time.time()
    time.sleep(10)  # seconds to count requests
    asked = [each for each in requests(running.cluster, user=USER) if each.at > since]
    assert len(asked) < 100, "ten a second: a read of the lease each 2 s, and retried watches"
    assert proxied.logged("reconcile crashed") == 0
    kube.json_patch(resources.CONFIG_MAP, "holds", {"op": "remove", "path": "/metadata/finalizers"})
    until(lambda: kube.find(NAMESPACES, NAMESPACE) is None, why="the namespace is gone", seconds=60)
    running.system.install()
    back = time.monotonic()
    proxied.equal_undisturbed(mirrors)
    until(lambda: not any(_reports_refusal(kube, name) for name in mirrors), why="no mirror reports it any more")
    recovered = time.monotonic() - back
    until(lambda: _is_accepted(kube, "afterwards"), why="the webhook has a certificate of the new CA", seconds=30)
    proxied.equal_undisturbed(["afterwards"])
    chaos.row(
        "namespace stuck in deletion, then made again",
        lost=f"0 of {len(mirrors)} mirrors",
        condition=condition,
        recovered=recovered,
    )


def _reports_refusal(kube: Kube, name: str) -> bool:
    conditions = kube.conditions(name)
    refused = conditions.get("CacheAvailable", ("", "", ""))[1] == "CAFailed"
    return refused or conditions.get("Reconciled", ("", "", ""))[0] == "False"


def _is_accepted(kube: Kube, name: str) -> bool:
    """Return True if a mirror was accepted; it is refused until the API server trusts the webhook."""
    output = kube.apply(json.loads(json.dumps(one(name).raw())))
    return "created" in output or "unchanged" in output
