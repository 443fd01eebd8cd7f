"""What an earlier mirror of the same name has left, and nobody has collected yet."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING

import pytest

from controller.apply.applier import Applier
from controller.apply.conflict_limiter import ConflictLimiter
from controller.duration_tracker import DurationTracker
from controller.informer.cluster_cache import ClusterCache
from controller.kubeclient.client import KubeClient
from controller.kubeclient.config import load_configuration
from controller.kubeclient.errors import Conflict
from controller.model.mirror import Mirror, parse_mirror
from controller.model.results import ApplyResult
from controller.objects import resources
from tests.support.faults import CHILDREN, complete, one
from tests.support.kube import NAMESPACE, Kube, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cluster.conftest import Running

NAME = "registry-mirror-again"


def owners(kube: Kube) -> set[str]:
    """UIDs of the mirrors that the objects belong to."""
    found = [kube.find(kind, f"{NAME}{suffix}") for kind, suffix in CHILDREN]
    return {each["metadata"]["ownerReferences"][0]["uid"] if each else "missing" for each in found}


def made(kube: Kube) -> str:
    """UID of the mirror, made and complete."""
    kube.mirror(one("again"))
    uid: str = kube.get(resources.MIRROR, "again")["metadata"]["uid"]
    until(lambda: complete(kube, "again") and owners(kube) == {uid}, why="all belongs to the mirror of now")
    return uid


def deleted(kube: Kube) -> None:
    """The mirror is gone, and all that was made for it is still there."""
    kube.delete(resources.MIRROR, "again")
    kube.until_gone(resources.MIRROR, "again")
    assert "missing" not in owners(kube)


def cleared(kube: Kube) -> list[str]:
    """What is told of having taken away."""
    return [note for _, reason, note in kube.events("again") if reason == "Pruned"]


def test_a_mirror_made_again_does_not_wait_for_the_garbage_collector(fresh: Callable[..., Running]) -> None:
    """There is none here."""
    running = fresh(controllers=False)
    kube = running.kube
    running.system.start()
    first = made(kube)
    deleted(kube)
    assert owners(kube) == {first}
    second = made(kube)
    assert second != first
    told = lambda: all(f"{kind.name} {NAME}" in " ".join(cleared(kube)) for kind in resources.CHILDREN)  # noqa: E731
    until(told, why="Events tell of each")
    kube.patch(resources.BUDGET, NAME, {"spec": {"maxUnavailable": 0}})
    repaired = lambda: kube.get(resources.BUDGET, NAME)["spec"]["maxUnavailable"] == 1  # noqa: E731
    until(repaired, why="repairs of what was made anew wait for nothing")


def test_what_somebody_puts_back_again_and_again_is_taken_away_ever_more_rarely(fresh: Callable[..., Running]) -> None:
    """A backup that is restored over and over brings its owners of then along."""
    running = fresh(controllers=False)
    kube = running.kube
    running.system.start()
    uid = made(kube)
    budget = kube.get(resources.BUDGET, NAME)
    stale = {**budget["metadata"]["ownerReferences"][0], "uid": str(uuid.uuid4())}
    old = {**budget, "metadata": {"name": NAME, "ownerReferences": [stale]}}

    def restored() -> bool:
        kube.http.delete(resources.BUDGET.path(NAMESPACE, NAME))
        return kube.http.post(resources.BUDGET.path(NAMESPACE), json=old).is_success

    until(restored, why="it stands there before the controller has made its own")
    until(lambda: owners(kube) == {uid}, why="the controller's own is there again")
    until(restored, why="restored once more")
    until(lambda: cleared(kube), why="an Event tells of the first time")
    contested = lambda: "ConflictingWriter" in {reason for _, reason, _ in kube.events("again")}  # noqa: E731
    until(contested, why="and of somebody who keeps doing it")
    assert kube.get(resources.BUDGET, NAME)["metadata"]["ownerReferences"] == [stale]


async def test_what_a_later_mirror_has_is_left_alone_by_who_has_not_heard_of_it(fresh: Callable[..., Running]) -> None:
    """A leader whose watch is behind sees objects of a mirror that it does not know, under a name that it does."""
    running = fresh(controllers=False)
    kube = running.kube
    running.system.start()
    kube.mirror(one("again"))
    former = kube.get(resources.MIRROR, "again")
    until(lambda: complete(kube, "again"), why="complete")
    deleted(kube)
    later = made(kube)
    running.system.processes.stop(["controller"])
    mirror = parse_mirror(former, ())
    assert isinstance(mirror, Mirror)
    state = ClusterCache(lambda _: None)
    budget = kube.get(resources.BUDGET, NAME)
    state.children[resources.BUDGET].put(budget)
    async with KubeClient(await load_configuration(str(running.cluster.kubeconfig))) as door:
        applier = Applier(door, NAMESPACE, state, ConflictLimiter(), DurationTracker(), time.monotonic)
        with pytest.raises(Conflict, match="was deleted since it was read"):
            await applier.keep(mirror, [(resources.BUDGET, budget)], ApplyResult())
    assert owners(kube) == {later}
