"""Apply the desired objects: create missing ones, patch differing ones, leave the others alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from common import names
from controller.apply.conflict_limiter import REPLACEMENT
from controller.kubeclient.errors import Conflict, Forbidden, Invalid
from controller.objects import merge_patch
from controller.objects.immutable_fields import immutable_differences, without_immutable
from controller.objects.ownership import Ownership, describe_owner, ownership_of
from controller.objects.preconditions import preconditions
from controller.objects.resources import CHILDREN, MIRROR, SECRET

if TYPE_CHECKING:
    from collections.abc import Callable

    from common.types import Json
    from controller.apply.conflict_limiter import ConflictLimiter
    from controller.duration_tracker import DurationTracker
    from controller.informer.cluster_cache import ClusterCache
    from controller.kubeclient.client import KubeClient
    from controller.model.mirror import Mirror
    from controller.model.results import ApplyResult
    from controller.objects.resources import Kind


@dataclass(frozen=True, slots=True)
class Applier:
    """Applies objects to one namespace. `clock` returns monotonic seconds."""

    cluster: KubeClient
    namespace: str
    state: ClusterCache
    limiter: ConflictLimiter
    durations: DurationTracker
    clock: Callable[[], float]

    async def apply(self, mirror: Mirror, objects: list[tuple[Kind, Json]], applied: ApplyResult) -> None:
        """Apply all objects of a mirror, then delete its objects that are no longer desired.

        `applied` receives what is done. Raise ClusterError if a request fails. The next call continues.
        """
        await self.apply_part(mirror, objects, applied)
        if f"{SECRET.name} {mirror.object_name}" in applied.foreign:
            return
        desired = {(kind, body["metadata"]["name"]) for kind, body in objects}
        for kind in reversed(CHILDREN):
            await self._prune(mirror, kind, desired, applied)

    async def apply_part(self, mirror: Mirror, objects: list[tuple[Kind, Json]], applied: ApplyResult) -> None:
        """Apply some objects of a mirror and delete nothing."""
        for kind, body in objects:
            try:
                await self._apply_one(mirror, kind, body, applied)
            except (Forbidden, Invalid) as error:
                applied.refused[_key(kind, body)] = str(error)
            if kind is SECRET and applied.foreign:
                return  # pods would mount the foreign Secret, and each reconcile would issue a certificate

    def forget(self, key: str) -> None:
        """Drop the memory of an object whose mirror is gone."""
        self.limiter.forget(key)
        self.limiter.forget(_left_over(key))
        self.durations.forget(key)

    async def create(self, kind: Kind, body: Json) -> Json:
        """Create an object and return it as stored. Raise ClusterError."""
        store, name = self.state.children[kind], body["metadata"]["name"]
        with store.writing(name):
            stored = await self.cluster.create(kind, self.namespace, merge_patch.without_nulls(body))
            store.put(stored, quietly=True)
        return stored

    async def _apply_one(self, mirror: Mirror, kind: Kind, body: Json, applied: ApplyResult) -> None:
        key, current = _key(kind, body), self.state.children[kind].get(body["metadata"]["name"])
        if current is None:
            self.durations.forget(key)
            self._check_mutation(kind, await self.create(kind, body), body, applied)
            applied.created.append(key)
            return
        ownership = ownership_of(current, mirror)
        if ownership is Ownership.NOT_OWNED:
            applied.foreign[key] = describe_owner(current)
        elif ownership is Ownership.TERMINATING:
            applied.terminating.append(key)
            if since := current["metadata"].get("deletionTimestamp"):
                seen_for = self.durations.held(key, current["metadata"]["uid"], self.clock())
                applied.deleting[key] = since, list(current["metadata"].get("finalizers") or []), seen_for
            else:
                await self._delete_left_over(mirror, kind, current, body, applied)
        elif immutable := immutable_differences(kind, current, body):
            await self._replace(kind, current, body, immutable, applied)
        else:
            await self._repair(kind, current, body, ownership, applied)

    async def _repair(self, kind: Kind, current: Json, body: Json, ownership: Ownership, applied: ApplyResult) -> None:
        key, desired, patch = _key(kind, body), _hash(body), _difference(kind, current, body)
        fields = tuple(merge_patch.paths(patch))
        if not patch:
            self.limiter.record_mutation(key, desired, (), self.clock())
        if not patch or self._is_limited(key, desired, applied, fields):
            return
        sent = {**patch, "metadata": {**patch.get("metadata", {}), **preconditions(current)}}
        store, name = self.state.children[kind], body["metadata"]["name"]
        with store.writing(name):
            stored = await self.cluster.patch(kind, self.namespace, name, sent)
            store.put(stored, quietly=True)
        self._check_mutation(kind, stored, body, applied)
        if stored["metadata"]["resourceVersion"] == current["metadata"]["resourceVersion"]:
            return  # an admission webhook undid the whole patch
        self.limiter.record_repair(key, desired, self.clock())
        if ownership is Ownership.ORPHANED:
            applied.adopted.append(key)
        else:
            applied.repaired[key] = list(fields)

    def _check_mutation(self, kind: Kind, stored: Json, body: Json, applied: ApplyResult) -> None:
        """Record the fields that an admission webhook or policy changed in what was written."""
        key, desired, now = _key(kind, body), _hash(body), self.clock()
        fields = tuple(merge_patch.paths(_difference(kind, stored, body)))
        if self.limiter.record_mutation(key, desired, fields, now):
            applied.mutated[key] = list(fields)
        if wait := self.limiter.wait(key, desired, now, fields):
            applied.wait_for(wait)

    async def _replace(self, kind: Kind, current: Json, body: Json, immutable: list[str], applied: ApplyResult) -> None:
        """Delete an object with wrong immutable fields. The next reconcile creates it."""
        key, desired = _key(kind, current), _hash(body)
        if self._is_limited(key, desired, applied):
            return
        await self.cluster.delete(kind, self.namespace, current)
        self.limiter.record_repair(key, desired, self.clock(), REPLACEMENT)
        applied.replaced[key] = immutable

    async def _delete_left_over(
        self, mirror: Mirror, kind: Kind, current: Json, body: Json, applied: ApplyResult
    ) -> None:
        """Delete an object of an earlier mirror of this name. The next reconcile creates it.

        Kubernetes' garbage collector may take minutes, as it makes twenty requests a second.
        """
        # A key of its own, so that repairs of the new object do not wait for it.
        key, desired = _key(kind, current), _hash(body)
        if self._is_limited(_left_over(key), desired, applied):
            return
        await self._check_latest(mirror, applied)
        await self.cluster.delete(kind, self.namespace, current)
        self.limiter.record_repair(_left_over(key), desired, self.clock(), REPLACEMENT)
        applied.left_over.append(key)

    async def _check_latest(self, mirror: Mirror, applied: ApplyResult) -> None:
        """Raise Conflict if another mirror has this name by now. The watch may lag behind.

        Objects of that mirror would look like those of an earlier one.
        """
        if not applied.is_latest:
            pages = self.cluster.pages(MIRROR, None, f"metadata.name={mirror.name}")
            if {each["metadata"]["uid"] async for items, _ in pages for each in items} != {mirror.uid}:
                raise Conflict(f"RegistryMirror {mirror.name} was deleted since it was read")
            applied.is_latest = True

    def _is_limited(self, key: str, desired: int, applied: ApplyResult, fields: tuple[str, ...] = ()) -> bool:
        now = self.clock()
        wait = self.limiter.wait(key, desired, now, fields)
        if not wait:
            return False
        applied.wait_for(wait)
        if self.limiter.is_new_conflict(key, now):
            applied.conflicts.append(key)
        return True

    async def _prune(self, mirror: Mirror, kind: Kind, desired: set[tuple[Kind, str]], applied: ApplyResult) -> None:
        store = self.state.children[kind]
        for name in (names.object_name(mirror.name), names.headless_name(mirror.name)):
            current = store.get(name)
            if (kind, name) in desired or current is None or ownership_of(current, mirror) is not Ownership.OWNED:
                continue
            await self.cluster.delete(kind, self.namespace, current)
            applied.pruned.append(_key(kind, current))


def _key(kind: Kind, obj: Json) -> str:
    return f"{kind.name} {obj['metadata']['name']}"


def _left_over(key: str) -> str:
    return f"{key} of an earlier mirror"


def _hash(body: Json) -> int:
    return hash(orjson.dumps(body, option=orjson.OPT_SORT_KEYS))


def _difference(kind: Kind, current: Json, body: Json) -> Json:
    """Return the merge patch that brings `current` to the mutable part of `body`."""
    return merge_patch.merge_patch(current, _with_other_owners(current, without_immutable(kind, body)))


def _with_other_owners(current: Json, desired: Json) -> Json:
    """Return `desired` with the owners that others added, without controllers."""
    ours = desired["metadata"]["ownerReferences"]
    references = current["metadata"].get("ownerReferences") or []
    others = [reference for reference in references if not reference.get("controller")]
    return {**desired, "metadata": {**desired["metadata"], "ownerReferences": [*others, *ours]}}
