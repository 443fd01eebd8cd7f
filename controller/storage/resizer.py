"""Bring claims and StatefulSet to the wanted storage. A refusal or a crash between two steps loses no data.

The mirror owns the claims, so they outlive the StatefulSet and are garbage collected with the mirror.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from common import names
from common.defaults import dict_at
from common.model import DEFAULT_REPLICAS
from controller.apply.conflict_limiter import REPLACEMENT, ConflictLimiter
from controller.kubeclient.errors import ClusterError, Conflict, Forbidden, Invalid, NotLeader
from controller.model.results import StorageResult
from controller.objects.finalizer import is_terminating
from controller.objects.ownership import Ownership, controller_of, ownership_of
from controller.objects.preconditions import preconditions
from controller.objects.resources import CLAIM, MIRROR, POD, STATEFUL_SET
from controller.objects.rollout import is_unobserved
from controller.storage import resize_plan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from common.types import Json
    from controller.informer.cluster_cache import ClusterCache
    from controller.informer.store import Store
    from controller.kubeclient.client import KubeClient
    from controller.model.mirror import Identity, Mirror
    from controller.model.results import ResizePlan
    from controller.objects.resources import Kind


# Its change makes Kubernetes reconcile a StatefulSet; the value is not read.
RENEWED_ANNOTATION: Final = f"{names.GROUP}/claims-renewed"
# Seconds between two changes of it, doubling: Kubernetes retries by itself if a quota refuses the claim.
FIRST_PAUSE: Final = 5.0
LONGEST_PAUSE: Final = 60.0


@dataclass(frozen=True, slots=True)
class _Trigger:
    """The last change of RENEWED_ANNOTATION, by UID of the StatefulSet, and the time of the next one."""

    uid: str
    pause: float
    next: float


@dataclass(slots=True)
class StorageMemory:
    """The last changes of the StatefulSet of one mirror. `replaced` is the UID of the last one deleted."""

    limiter: ConflictLimiter = field(default_factory=ConflictLimiter)
    trigger: _Trigger | None = None
    replaced: str = ""


@dataclass(frozen=True, slots=True)
class Storage:
    """Claims and StatefulSets of one namespace. `clock` returns monotonic seconds."""

    cluster: KubeClient
    namespace: str
    state: ClusterCache
    clock: Callable[[], float]

    async def settle(self, mirror: Mirror, memory: StorageMemory) -> StorageResult:
        """Carry out as much of the plan as is possible now."""
        current = self.state.children[STATEFUL_SET].get(mirror.object_name)
        owned = current if current and ownership_of(current, mirror) is Ownership.OWNED else None
        plan = resize_plan.plan(mirror, owned, self._claims(mirror))
        if current is not None and owned is None:
            return StorageResult(plan)
        refused = await self._adopt(mirror, plan, memory)
        plan = resize_plan.plan(mirror, owned, self._claims(mirror))
        refused = refused or await self._grow(plan)
        plan = await self._take_back(plan)
        if owned is None or refused is not None:
            return StorageResult(plan, refused)
        try:
            if plan.replace:
                return await self._replace(mirror, owned, plan, memory)
            refused = await self._recreate(mirror, plan, memory)
            waiting = await self._delete_claims(mirror, owned, plan, memory)
            return StorageResult(plan, refused, waiting=waiting or bool(plan.adopt))
        except (Forbidden, Invalid) as error:
            what = (
                f"The StatefulSet cannot be replaced for {plan.wanted}" if plan.replace else "Claims cannot be deleted"
            )
            return StorageResult(plan, f"{what}: {error}")

    async def delete_orphaned_pods(self, mirror: Identity, memory: StorageMemory) -> list[str]:
        """Delete the cache pods of a deleted mirror whose StatefulSet was being replaced. Return the refusals.

        Kubernetes does not collect them, since they have lost their owner.
        """
        current = self.state.children[STATEFUL_SET].get(mirror.object_name)
        uid = dict_at(current, "metadata").get("uid")
        if current is not None and not _is_going(mirror, current, memory):
            return []
        refused: list[str] = []
        labels = names.selector(names.pod_labels(mirror.name, names.REGISTRY))
        with _noting(refused, f"pods of StatefulSet {mirror.object_name}"):
            for pod in await self._list(POD, labels=labels):
                owner = controller_of(pod)
                if is_terminating(pod) or (owner is not None and owner["uid"] != uid):
                    continue
                with _noting(refused, f"{POD.name} {pod['metadata']['name']}"):
                    await self.cluster.delete(POD, self.namespace, pod)
        return refused

    async def _adopt(self, mirror: Mirror, plan: ResizePlan, memory: StorageMemory) -> str | None:
        """Make the mirror the owner of claims of an earlier version, which the StatefulSet owns, or of orphaned claims.

        This comes before the StatefulSet is replaced: a claim with an existing owner is never garbage collected.
        """
        try:
            for claim in plan.adopt:
                key, desired, now = f"claim {claim['metadata']['name']}", hash(mirror.uid), self.clock()
                owners = {"ownerReferences": resize_plan.owned_by(mirror, claim)}
                if not memory.limiter.wait(key, desired, now):
                    await self._patch(CLAIM, self.state.claims, claim, {"metadata": owners})
                    memory.limiter.record_repair(key, desired, now)
        except (Forbidden, Invalid) as error:
            return f"The mirror cannot own its claims: {error}"
        return None

    async def _grow(self, plan: ResizePlan) -> str | None:
        """Request more storage for every claim. A dry run first, so that a refusal leaves all claims unchanged."""
        try:
            for dry_run in (True, False):
                for claim in plan.grow:
                    await self._patch(CLAIM, self.state.claims, claim, _request(plan.wanted), dry_run=dry_run)
        except (Forbidden, Invalid) as error:
            return f"{plan.wanted} cannot be granted, all claims stay as they are: {error}"
        return None

    async def _take_back(self, plan: ResizePlan) -> ResizePlan:
        """Request as little as the API server accepts. Return the plan with the claims of which it accepts nothing.

        It accepts less than before with RecoverVolumeExpansionFailure only.
        """
        kept = []
        for claim in plan.take_back:
            try:
                change = _request(str(resize_plan.least_request(claim)))
                await self._patch(CLAIM, self.state.claims, claim, change)
            except (Forbidden, Invalid):
                kept.append(claim)
        return replace(plan, take_back=kept)

    async def _replace(self, mirror: Mirror, current: Json, plan: ResizePlan, memory: StorageMemory) -> StorageResult:
        """Delete the StatefulSet without its pods. The next reconcile creates it."""
        key, desired, now = "claim template", hash((mirror.uid, plan.wanted)), self.clock()
        if memory.limiter.wait(key, desired, now):
            return StorageResult(plan, "An admission webhook changes the claim template; exclude StatefulSets from it.")
        # Before the request, as its response may get lost.
        memory.replaced = current["metadata"]["uid"]
        await self.cluster.delete(STATEFUL_SET, self.namespace, current, propagation="Orphan")
        memory.limiter.record_repair(key, desired, now, REPLACEMENT)
        return StorageResult(plan, replacing=True)

    async def _recreate(self, mirror: Mirror, plan: ResizePlan, memory: StorageMemory) -> str | None:
        """Delete claims of another size. Return an error if they keep their size."""
        refused, desired, now = None, hash((mirror.uid, plan.wanted)), self.clock()
        for claim in plan.recreate:
            key = f"size of claim {claim['metadata']['name']}"
            if memory.limiter.wait(key, desired, now):
                refused = f"An admission webhook or policy changes the {key}. Exclude claims from it."
            else:
                await self.cluster.delete(CLAIM, self.namespace, claim)
                memory.limiter.record_repair(key, desired, now, REPLACEMENT)
        return refused

    async def _delete_claims(self, mirror: Mirror, current: Json, plan: ResizePlan, memory: StorageMemory) -> bool:
        """Delete claims of removed pods, create absent ones. Return True if more remains to be done later."""
        is_scaled = dict_at(current, "spec").get("replicas") == mirror.spec.replicas and not is_unobserved(current)
        if not is_scaled:
            return bool(plan.surplus)
        in_use = [claim for claim in plan.surplus if not await self._delete_surplus(mirror, current, claim)]
        return bool(in_use) | await self._recreate_absent(current, plan, memory)

    async def _delete_surplus(self, mirror: Mirror, current: Json, claim: Json) -> bool:
        """Delete the claim of a removed pod. Return False while the pod exists or is wanted again."""
        pod = claim["metadata"]["name"].removeprefix(f"{names.CLAIM_TEMPLATE}-")
        if await self._list(POD, f"metadata.name={pod}") or not await self._is_scaled(mirror, current):
            return False
        await self.cluster.delete(CLAIM, self.namespace, claim)
        return True

    async def _is_scaled(self, mirror: Mirror, current: Json) -> bool:
        """Return True if the API server has these replicas in mirror and StatefulSet. The watch may lag behind."""
        found = await self._list(MIRROR, f"metadata.name={mirror.name}")
        found += await self._list(STATEFUL_SET, f"metadata.name={mirror.object_name}")
        replicas = {each["metadata"]["uid"]: each["spec"].get("replicas", DEFAULT_REPLICAS) for each in found}
        return replicas == dict.fromkeys((mirror.uid, current["metadata"]["uid"]), mirror.spec.replicas)

    async def _recreate_absent(self, current: Json, plan: ResizePlan, memory: StorageMemory) -> bool:
        """Make Kubernetes create claims that are absent. Return True if there are any.

        It creates them when it reconciles the StatefulSet, but a deleted claim is no reason for it to do so.
        """
        if not plan.absent:
            return False
        last, now = memory.trigger, self.clock()
        pause = FIRST_PAUSE
        if last is not None and last.uid == current["metadata"]["uid"]:
            if now < last.next:
                return True
            pause = min(2 * last.pause, LONGEST_PAUSE)
        if await self._are_absent(plan.absent):
            change = {"metadata": {"annotations": {RENEWED_ANNOTATION: current["metadata"]["resourceVersion"]}}}
            await self._patch(STATEFUL_SET, self.state.children[STATEFUL_SET], current, change)
            memory.trigger = _Trigger(current["metadata"]["uid"], pause, now + pause)
        return True

    async def _are_absent(self, claims: list[str]) -> bool:
        """Return True if the API server lacks one of the claims. The watch may lag behind."""
        return not all([await self._list(CLAIM, f"metadata.name={name}") for name in claims])

    async def _list(self, kind: Kind, selector: str = "", labels: str = "") -> list[Json]:
        pages = self.cluster.pages(kind, None if kind is MIRROR else self.namespace, selector, labels)
        return [each async for found, _ in pages for each in found]

    async def _patch(self, kind: Kind, store: Store, current: Json, change: Json, *, dry_run: bool = False) -> None:
        name, body = current["metadata"]["name"], _with_version(current, change)
        with store.writing(name):
            stored = await self.cluster.patch(kind, self.namespace, name, body, dry_run=dry_run)
            if not dry_run:
                store.put(stored, quietly=True)

    def _claims(self, mirror: Identity) -> list[Json]:
        claim_names = (names.claim_name(mirror.name, ordinal) for ordinal in range(resize_plan.ORDINALS))
        return [claim for name in claim_names if (claim := self.state.claims.get(name)) is not None]


@contextmanager
def _noting(refused: list[str], what: str) -> Iterator[None]:
    """Add a failed request to `refused`, unless another writer or leader is the cause."""
    try:
        yield
    except (Conflict, NotLeader):
        raise
    except ClusterError as error:
        refused.append(f"{what}: {error}")


def _is_going(mirror: Identity, current: Json, memory: StorageMemory) -> bool:
    """Return True if the mirror's StatefulSet is deleted. The watch may lag behind our own request."""
    is_ours = ownership_of(current, mirror) is not Ownership.NOT_OWNED
    return is_ours and (memory.replaced == current["metadata"]["uid"] or is_terminating(current))


def _request(storage: str) -> Json:
    return {"spec": {"resources": {"requests": {"storage": storage}}}}


def _with_version(current: Json, change: Json) -> Json:
    """Return a merge patch that the API server refuses if the object has changed."""
    return {**change, "metadata": {**preconditions(current), **change.get("metadata", {})}}
