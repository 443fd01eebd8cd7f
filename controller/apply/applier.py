"""Apply the desired objects: create missing ones, patch differing ones, leave the others alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import orjson

from common import names
from controller.apply.conflict_limiter import REPLACEMENT, ConflictLimiter
from controller.duration_tracker import DurationTracker
from controller.kubeclient.errors import Conflict, Forbidden, Invalid
from controller.objects import merge_patch, user_metadata
from controller.objects.immutable_fields import immutable_differences, without_immutable
from controller.objects.ownership import Ownership, describe_owner, ownership_of
from controller.objects.preconditions import preconditions
from controller.objects.resources import CHILDREN, MIRROR, SECRET

if TYPE_CHECKING:
    from collections.abc import Callable

    from common.types import Json
    from controller.informer.cluster_cache import ClusterCache
    from controller.kubeclient.client import KubeClient
    from controller.model.mirror import Mirror
    from controller.model.results import ApplyResult
    from controller.objects.resources import Kind


@dataclass(slots=True)
class ObjectMemory:
    """Repairs and deletions of the objects of one mirror."""

    limiter: ConflictLimiter = field(default_factory=ConflictLimiter)
    durations: DurationTracker = field(default_factory=DurationTracker)


@dataclass(frozen=True, slots=True)
class Applier:
    """Applies objects to one namespace. `clock` returns monotonic seconds."""

    cluster: KubeClient
    namespace: str
    state: ClusterCache
    clock: Callable[[], float]

    async def create(self, kind: Kind, body: Json) -> Json:
        """Create an object and return it as stored. Raise ClusterError."""
        store, name = self.state.children[kind], body["metadata"]["name"]
        with store.writing(name):
            stored = await self.cluster.create(kind, self.namespace, merge_patch.without_nulls(body))
            store.put(stored, quietly=True)
        return stored

    def to(self, mirror: Mirror, memory: ObjectMemory, applied: ApplyResult) -> MirrorApplier:
        """Return an applier for one reconcile of a mirror. `applied` receives what is done."""
        return MirrorApplier(self, mirror, memory, applied)


@dataclass(frozen=True, slots=True)
class MirrorApplier:
    """Applies the objects of one mirror in one reconcile."""

    applier: Applier
    mirror: Mirror
    memory: ObjectMemory
    applied: ApplyResult

    async def apply(self, objects: list[tuple[Kind, Json]]) -> None:
        """Apply all objects, then delete those that are no longer desired. Raise ClusterError if a request fails."""
        await self.apply_part(objects)
        if f"{SECRET.name} {self.mirror.object_name}" in self.applied.foreign:
            return
        desired = {(kind, body["metadata"]["name"]) for kind, body in objects}
        for kind in reversed(CHILDREN):
            await self._prune(kind, desired)

    async def apply_part(self, objects: list[tuple[Kind, Json]]) -> None:
        """Apply some objects and delete nothing."""
        for kind, body in objects:
            try:
                await self._apply_one(kind, body)
            except (Forbidden, Invalid) as error:
                self.applied.refused[_key(kind, body)] = str(error)
            if kind is SECRET and self.applied.foreign:
                return  # pods would mount the foreign Secret, and each reconcile would issue a certificate

    async def _apply_one(self, kind: Kind, body: Json) -> None:
        key, current = _key(kind, body), self.applier.state.children[kind].get(body["metadata"]["name"])
        if current is None:
            self.memory.durations.forget(key)
            self._check_mutation(kind, await self.applier.create(kind, body), body)
            self.applied.created.append(key)
            return
        ownership = ownership_of(current, self.mirror)
        if ownership is Ownership.NOT_OWNED:
            self.applied.foreign[key] = describe_owner(current)
        elif ownership is Ownership.TERMINATING:
            self.applied.terminating.append(key)
            if since := current["metadata"].get("deletionTimestamp"):
                seen_for = self.memory.durations.held_for(key, current["metadata"]["uid"], self.applier.clock())
                self.applied.deleting[key] = since, list(current["metadata"].get("finalizers") or []), seen_for
            else:
                await self._delete_left_over(kind, current, body)
        elif immutable := immutable_differences(kind, current, body):
            await self._replace(kind, current, body, immutable)
        else:
            await self._repair(kind, current, body, ownership)

    async def _repair(self, kind: Kind, current: Json, body: Json, ownership: Ownership) -> None:
        key, desired, patch = _key(kind, body), _hash(body), _difference(kind, current, body)
        fields = tuple(merge_patch.paths(patch))
        if not patch:
            self.memory.limiter.record_mutation(key, desired, (), self.applier.clock())
        if not patch or self._is_limited(key, desired, fields):
            return
        sent = {**patch, "metadata": {**patch.get("metadata", {}), **preconditions(current)}}
        store, name = self.applier.state.children[kind], body["metadata"]["name"]
        with store.writing(name):
            stored = await self.applier.cluster.patch(kind, self.applier.namespace, name, sent)
            # After an adoption the mirror is reconciled again: its claims follow the StatefulSet.
            store.put(stored, quietly=ownership is Ownership.OWNED)
        self._check_mutation(kind, stored, body)
        if stored["metadata"]["resourceVersion"] == current["metadata"]["resourceVersion"]:
            return  # an admission webhook undid the whole patch
        self.memory.limiter.record_repair(key, desired, self.applier.clock())
        if ownership is Ownership.ORPHANED:
            self.applied.adopted.append(key)
        else:
            self.applied.repaired[key] = list(fields)

    def _check_mutation(self, kind: Kind, stored: Json, body: Json) -> None:
        """Record the fields that an admission webhook or policy changed in what was written."""
        key, desired, now = _key(kind, body), _hash(body), self.applier.clock()
        fields = tuple(merge_patch.paths(_difference(kind, stored, body)))
        if self.memory.limiter.record_mutation(key, desired, fields, now):
            self.applied.mutated[key] = list(fields)
        if wait := self.memory.limiter.wait(key, desired, now, fields):
            self.applied.wait_for(wait)

    async def _replace(self, kind: Kind, current: Json, body: Json, immutable: list[str]) -> None:
        """Delete an object with wrong immutable fields. The next reconcile creates it."""
        key, desired = _key(kind, current), _hash(body)
        if self._is_limited(key, desired):
            return
        await self.applier.cluster.delete(kind, self.applier.namespace, current)
        self.memory.limiter.record_repair(key, desired, self.applier.clock(), REPLACEMENT)
        self.applied.replaced[key] = immutable

    async def _delete_left_over(self, kind: Kind, current: Json, body: Json) -> None:
        """Delete an object of an earlier mirror of this name. The next reconcile creates it.

        Kubernetes' garbage collector may take minutes, as it makes twenty requests a second.
        """
        # A key of its own, so that repairs of the new object do not wait for it.
        key, desired = _key(kind, current), _hash(body)
        if self._is_limited(_left_over(key), desired):
            return
        await self._check_latest()
        await self.applier.cluster.delete(kind, self.applier.namespace, current)
        self.memory.limiter.record_repair(_left_over(key), desired, self.applier.clock(), REPLACEMENT)
        self.applied.left_over.append(key)

    async def _check_latest(self) -> None:
        """Raise Conflict if another mirror has this name by now. The watch may lag behind.

        Objects of that mirror would look like those of an earlier one.
        """
        if not self.applied.is_latest:
            pages = self.applier.cluster.pages(MIRROR, None, f"metadata.name={self.mirror.name}")
            if {each["metadata"]["uid"] async for items, _ in pages for each in items} != {self.mirror.uid}:
                raise Conflict(f"RegistryMirror {self.mirror.name} was deleted since it was read")
            self.applied.is_latest = True

    def _is_limited(self, key: str, desired: int, fields: tuple[str, ...] = ()) -> bool:
        now = self.applier.clock()
        wait = self.memory.limiter.wait(key, desired, now, fields)
        if not wait:
            return False
        self.applied.wait_for(wait)
        if self.memory.limiter.is_new_conflict(key, now):
            self.applied.conflicts.append(key)
        return True

    async def _prune(self, kind: Kind, desired: set[tuple[Kind, str]]) -> None:
        store = self.applier.state.children[kind]
        mirror = self.mirror.name
        former = dict.fromkeys(names.former_names(mirror), (Ownership.OWNED, Ownership.ORPHANED))
        own = dict.fromkeys((names.object_name(mirror), names.headless_name(mirror)), (Ownership.OWNED,))
        for name, pruned in {**own, **former}.items():
            current = store.get(name)
            if (kind, name) in desired or current is None or ownership_of(current, self.mirror) not in pruned:
                continue
            await self.applier.cluster.delete(kind, self.applier.namespace, current)
            self.applied.pruned.append(_key(kind, current))


def _key(kind: Kind, obj: Json) -> str:
    return f"{kind.name} {obj['metadata']['name']}"


def _left_over(key: str) -> str:
    return f"{key} of an earlier mirror"


def _hash(body: Json) -> int:
    return hash(orjson.dumps(body, option=orjson.OPT_SORT_KEYS))


def _difference(kind: Kind, current: Json, body: Json) -> Json:
    """Return the merge patch that brings `current` to the mutable part of `body`."""
    desired = user_metadata.without_former_keys(kind, current, without_immutable(kind, body))
    return merge_patch.merge_patch(current, _with_other_owners(current, desired))


def _with_other_owners(current: Json, desired: Json) -> Json:
    """Return `desired` with the owners that others added, without controllers.

    mirror-operator named the mirror as an owner that is no controller.
    """
    owned_by = desired["metadata"]["ownerReferences"]
    references = current["metadata"].get("ownerReferences") or []
    ours = {reference["uid"] for reference in owned_by}
    others = [each for each in references if not each.get("controller") and each["uid"] not in ours]
    return {**desired, "metadata": {**desired["metadata"], "ownerReferences": [*others, *owned_by]}}
