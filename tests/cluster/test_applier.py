"""Objects of an earlier mirror of the same name, and objects that an admission policy changes."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING

import pytest

from controller.apply.applier import Applier, ObjectMemory
from controller.apply.conflict_limiter import FIRST_PAUSE
from controller.desired import desired_objects
from controller.informer.cluster_cache import ClusterCache
from controller.kubeclient.client import KubeClient
from controller.kubeclient.config import load_configuration
from controller.kubeclient.errors import Conflict
from controller.model.mirror import Mirror, parse_mirror
from controller.model.results import ApplyResult
from controller.objects import resources
from tests.support import policies
from tests.support.controller import inputs, parsed, settings
from tests.support.faults import CHILDREN, complete, one
from tests.support.kube import NAMESPACE, Kube, until

if TYPE_CHECKING:
    from tests.cluster.conftest import Running

NAME, SERVICE = "registry-mirror-again", "registry-mirror-docker"


def owners(kube: Kube) -> set[str]:
    """Return the UIDs of the mirrors that own the objects."""
    found = [kube.find(kind, f"{NAME}{suffix}") for kind, suffix in CHILDREN]
    return {each["metadata"]["ownerReferences"][0]["uid"] if each else "missing" for each in found}


def created(kube: Kube) -> str:
    """Create the mirror and return its UID when it is complete."""
    kube.mirror(one("again"))
    uid: str = kube.get(resources.MIRROR, "again")["metadata"]["uid"]
    until(lambda: complete(kube, "again") and owners(kube) == {uid}, why="the mirror owns all objects")
    return uid


def deleted(kube: Kube) -> None:
    """Delete the mirror. Its objects stay, as no garbage collector runs."""
    kube.delete(resources.MIRROR, "again")
    kube.until_gone(resources.MIRROR, "again")
    assert "missing" not in owners(kube)


def pruned(kube: Kube) -> list[str]:
    """Return the notes of the Events about deleted objects."""
    return [note for _, reason, note in kube.events("again") if reason == "Pruned"]


def test_objects_of_an_earlier_mirror_are_replaced(server_only: Running) -> None:
    """Without the garbage collector."""
    kube = server_only.kube
    server_only.start()
    first = created(kube)
    deleted(kube)
    assert owners(kube) == {first}
    assert created(kube) != first
    until(
        lambda: all(f"{kind.name} {NAME}" in " ".join(pruned(kube)) for kind in resources.CHILDREN),
        why="an Event names each",
    )
    kube.patch(resources.BUDGET, NAME, {"spec": {"maxUnavailable": 0}})
    until(
        lambda: kube.get(resources.BUDGET, NAME)["spec"]["maxUnavailable"] == 1,
        why="repairs of the new object do not wait",
    )


def test_objects_restored_in_a_loop_are_limited(server_only: Running) -> None:
    """A restored backup has the owner references of its time."""
    kube = server_only.kube
    server_only.start()
    uid = created(kube)
    budget = kube.get(resources.BUDGET, NAME)
    stale = {**budget["metadata"]["ownerReferences"][0], "uid": str(uuid.uuid4())}
    old = {**budget, "metadata": {"name": NAME, "ownerReferences": [stale]}}

    def restored() -> bool:
        kube.http.delete(resources.BUDGET.path(NAMESPACE, NAME))
        return kube.http.post(resources.BUDGET.path(NAMESPACE), json=old).is_success

    until(restored, why="it exists before the controller has created its own")
    until(lambda: owners(kube) == {uid}, why="the controller's own exists again")
    until(restored, why="restored once more")
    until(lambda: pruned(kube), why="an Event reports the first time")
    until(
        lambda: "ConflictingWriter" in {reason for _, reason, _ in kube.events("again")},
        why="an Event reports the other writer",
    )
    assert kube.get(resources.BUDGET, NAME)["metadata"]["ownerReferences"] == [stale]


async def test_objects_of_a_later_mirror_stay(server_only: Running) -> None:
    """A leader whose watch lags behind sees objects of a mirror that it does not know."""
    kube = server_only.kube
    server_only.start()
    kube.mirror(one("again"))
    former = kube.get(resources.MIRROR, "again")
    until(lambda: complete(kube, "again"), why="complete")
    deleted(kube)
    later = created(kube)
    server_only.system.processes.stop(["controller"])
    mirror = parse_mirror(former, ())
    assert isinstance(mirror, Mirror)
    state = ClusterCache(lambda _: None)
    budget = kube.get(resources.BUDGET, NAME)
    state.children[resources.BUDGET].put(budget)
    async with KubeClient(await load_configuration(str(server_only.cluster.kubeconfig))) as client:
        applier = Applier(client, NAMESPACE, state, time.monotonic).to(mirror, ObjectMemory(), ApplyResult())
        with pytest.raises(Conflict, match="was deleted since it was read"):
            await applier.apply_part([(resources.BUDGET, budget)])
    assert owners(kube) == {later}


async def test_mutated_object_is_reported_once(server_only: Running) -> None:
    """The write is repeated with a backoff, until the policy is gone."""
    kube = server_only.kube
    relabels = "Object{metadata: Object.metadata{labels: {'app': 'theirs'}}}"
    policies.alter(kube, "plain", policies.rule("", "services", "CREATE", "UPDATE"), relabels)
    body = {"metadata": {"name": "probe"}, "spec": {"ports": [{"port": 1}]}}

    def mutates() -> bool:
        return "labels" in kube.create(resources.SERVICE, body, dryRun="All")["metadata"]

    until(mutates, why="the policy is in force")
    mirror, now = parsed(), 0.0
    everything = desired_objects(mirror, settings(NAMESPACE=NAMESPACE), inputs())
    objects = [each for each in everything if each[1]["metadata"]["name"] == SERVICE and each[0] is resources.SERVICE]
    async with KubeClient(await load_configuration(str(server_only.cluster.kubeconfig))) as client:
        state = ClusterCache(lambda _: None)
        applier, memory = Applier(client, NAMESPACE, state, lambda: now), ObjectMemory()

        async def applied() -> ApplyResult:
            result = ApplyResult()
            await applier.to(mirror, memory, result).apply_part(objects)
            return result

        first = await applied()
        assert (first.mutated, first.wait) == ({f"Service {SERVICE}": ["metadata.labels.app"]}, FIRST_PAUSE)
        for later, wait in ((1.0, FIRST_PAUSE - 1), (FIRST_PAUSE, 2 * FIRST_PAUSE)):
            now = later
            again = await applied()
            assert (again.mutated, again.repaired, again.conflicts, again.wait) == ({}, {}, [], wait)
        policies.lift(kube, "plain", policies.ALTERING)
        until(lambda: not mutates(), why="the policy is gone")
        now = 3 * FIRST_PAUSE
        last = await applied()
        assert (list(last.repaired), last.wait) == ([f"Service {SERVICE}"], 0.0)
    assert kube.get(resources.SERVICE, SERVICE)["metadata"]["labels"]["app"] == "docker-registry"
