"""Test the writes of the resizer, and their limits, with an API server that another writer changes."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, cast

import pytest

from common import names
from controller.informer.cluster_cache import ClusterCache
from controller.kubeclient.errors import ClusterError, Conflict, Forbidden, NotLeader, Unavailable
from controller.objects.ownership import owner_uids
from controller.objects.resources import CLAIM, MIRROR, POD, STATEFUL_SET
from controller.storage.resizer import Storage, StorageMemory
from tests.support.controller import UID, a_claim, a_stateful_set, merged, parsed, stored
from tests.support.mirrors import a_mirror

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from common.types import Json
    from controller.kubeclient.client import KubeClient
    from controller.model.results import StorageResult
    from controller.objects.resources import Kind

CHILD = "registry-mirror-docker"
ZERO, ONE, TWO = (f"image-store-{CHILD}-{ordinal}" for ordinal in range(3))
BROKEN = Unavailable("failed calling webhook", 500)


class World:
    """An API server with a mirror of two cache pods, and the resizer. `stubborn` undoes each write at once."""

    def __init__(self, claims: list[Json], template: str = "20Gi") -> None:
        self.builder = a_mirror().storing("20Gi").replicated(2)
        self.mirror = parsed(self.builder)
        self.now, self.versions = 0.0, count(1)
        self.state, self.memory = ClusterCache(lambda _: None), StorageMemory()
        self.caches = {**self.state.children, CLAIM: self.state.claims}
        self.storage = Storage(cast("KubeClient", self), "mirrors", self.state, lambda: self.now)
        self.stored: dict[Kind, list[Json]] = {MIRROR: [stored(self.builder)], POD: [], CLAIM: [], STATEFUL_SET: []}
        self.writes: list[tuple[float, str]] = []
        self.errors: dict[str, ClusterError] = {}
        self.stubborn = False
        current = a_stateful_set(template)
        owner = {"apiVersion": names.API_VERSION, "kind": names.KIND, "name": "docker", "uid": UID, "controller": True}
        current["metadata"] |= {"uid": "its", "ownerReferences": [owner]}
        current["spec"]["replicas"] = 2
        self.store(STATEFUL_SET, current)
        for claim in claims:
            self.store(CLAIM, claim)

    def store(self, kind: Kind, obj: Json) -> Json:
        """Store an object, and show it to the controller."""
        obj = merged(obj, {"metadata": {"resourceVersion": str(next(self.versions))}})
        name = obj["metadata"]["name"]
        self.stored[kind] = [each for each in self.stored[kind] if each["metadata"]["name"] != name] + [obj]
        self.caches[kind].put(obj)
        return obj

    def uids_of(self, name: str) -> list[str]:
        """Return the UIDs of a claim's owners."""
        return next(owner_uids(each) for each in self.stored[CLAIM] if each["metadata"]["name"] == name)

    async def settle_for(self, seconds: int) -> list[StorageResult]:
        """Reconcile each 10 seconds."""
        results = []
        for self.now in range(0, seconds, 10):
            results.append(await self.storage.settle(self.mirror, self.memory))
        return results

    async def orphaned_pods(self) -> list[str]:
        """Delete the orphaned pods of the mirror, whose StatefulSet is gone."""
        self.state.children[STATEFUL_SET].remove(CHILD, next(self.versions))
        return await self.storage.delete_orphaned_pods(self.mirror, self.memory)

    async def pages(self, kind: Kind, _: str | None, selector: str = "", labels: str = "") -> AsyncIterator[object]:
        """Yield one page, or raise the error set for it."""
        if error := self.errors.get(f"list {kind.name}"):
            raise error
        name = selector.removeprefix("metadata.name=")
        yield [each for each in self.stored[kind] if labels or each["metadata"]["name"] == name], "1"

    async def patch(self, kind: Kind, _: str, name: str, body: Json, *, dry_run: bool) -> Json:
        """Store the change, or another one if stubborn."""
        if dry_run:
            return body
        self.writes.append((self.now, f"patch {name}"))
        current = next(each for each in self.stored[kind] if each["metadata"]["name"] == name)
        change = {"metadata": {"labels": {"touched": "yes"}}} if self.stubborn else body
        return self.store(kind, merged(current, change))

    async def delete(self, kind: Kind, _: str, current: Json, *, propagation: str = "") -> None:  # noqa: ARG002
        """Delete an object, or let it appear again at once if stubborn."""
        name = current["metadata"]["name"]
        if error := self.errors.get(f"delete {name}"):
            raise error
        self.writes.append((self.now, f"delete {name}"))
        if not self.stubborn:
            self.stored[kind].remove(current)
            if kind in self.caches:
                self.caches[kind].remove(name, next(self.versions))


def unowned(claim: Json) -> Json:
    """Return an orphaned claim."""
    del claim["metadata"]["ownerReferences"]
    return claim


def bound(*ordinals: int) -> list[Json]:
    """Return claims with volumes of the wanted size."""
    return [a_claim(ordinal, "20Gi", "20Gi") for ordinal in ordinals]


async def test_changed_claim_template_causes_no_loop() -> None:
    """An admission webhook changes the template each time."""
    world = World(bound(0, 1), template="10Gi")
    world.stubborn = True
    results = await world.settle_for(600)
    assert world.writes == [(at, f"delete {CHILD}") for at in (0, 180, 480)]
    assert "exclude StatefulSets" in str(results[-1].refused)


async def test_changed_claim_size_causes_no_loop() -> None:
    """A policy raises the size of each new claim."""
    world = World([a_claim(0, "50Gi"), *bound(1)])
    world.stubborn = True
    results = await world.settle_for(600)
    assert world.writes == [(at, f"delete {ZERO}") for at in (0, 180, 480)]
    assert f"changes the size of claim {ZERO}." in str(results[-1].refused)


async def test_removed_owner_causes_no_loop() -> None:
    """Another writer removes the owner each time. The mirror is requeued."""
    world = World([unowned(a_claim(0, "20Gi", "20Gi")), *bound(1)])
    world.stubborn = True
    results = await world.settle_for(600)
    assert len(world.writes) <= 5 + 600 / 30
    assert all(each.waiting and each.refused is None for each in results)


async def test_orphaned_claims_of_removed_pods_are_deleted() -> None:
    """Those of present pods are adopted and grow in the same reconcile."""
    world = World([unowned(each) for each in (a_claim(0, "10Gi", "10Gi"), *bound(1, 2))])
    await world.settle_for(10)
    assert {name for _, name in world.writes if name.startswith("delete")} == {f"delete {TWO}"}
    assert (world.uids_of(ZERO), world.uids_of(ONE)) == ([UID], [UID])
    assert (0, f"patch {ZERO}") in world.writes[3:]


@pytest.mark.parametrize("kind", [MIRROR, STATEFUL_SET])
async def test_claim_wanted_again_is_kept(kind: Kind) -> None:
    """The watch lags behind: the API server has three replicas again."""
    world = World(bound(0, 1, 2))
    world.stored[kind] = [merged(each, {"spec": {"replicas": 3}}) for each in world.stored[kind]]
    [result] = await world.settle_for(10)
    assert result.waiting
    assert world.writes == []


@pytest.mark.parametrize("error", [BROKEN, Forbidden("no right")])
@pytest.mark.parametrize("request_", ["list Pod", f"delete {CHILD}-0"])
async def test_failing_pod_deletion_is_reported(error: ClusterError, request_: str) -> None:
    """The deletion of the mirror goes on, and so does that of the other pods."""
    world = World([])
    world.stored[POD] = [{"metadata": {"name": f"{CHILD}-{ordinal}"}} for ordinal in (0, 1)]
    world.errors[request_] = error
    [refused] = await world.orphaned_pods()
    assert str(error) in refused
    assert world.writes == ([] if request_ == "list Pod" else [(0.0, f"delete {CHILD}-1")])


@pytest.mark.parametrize("error", [Conflict("changed"), NotLeader("lost")])
async def test_conflicting_pod_deletion_is_repeated(error: ClusterError) -> None:
    world = World([])
    world.stored[POD] = [{"metadata": {"name": f"{CHILD}-0"}}]
    world.errors[f"delete {CHILD}-0"] = error
    with pytest.raises(type(error)):
        await world.orphaned_pods()
