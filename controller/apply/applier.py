"""Makes the cluster hold the desired objects: creates what is missing, patches what differs, leaves what is right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from common import names
from controller.apply.conflict_limiter import REPLACEMENT
from controller.kubeclient.errors import Conflict, Forbidden, Invalid
from controller.objects import merge_patch
from controller.objects.immutable_fields import frozen_differences, without_frozen
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
    """Applies to one namespace. `clock` gives seconds that never go backwards."""

    cluster: KubeClient
    namespace: str
    state: ClusterCache
    contest: ConflictLimiter
    durations: DurationTracker
    clock: Callable[[], float]

    async def apply(self, mirror: Mirror, objects: list[tuple[Kind, Json]], applied: ApplyResult) -> None:
        """Brings all of a mirror's objects to what is desired, then deletes what is ours and no longer desired.

        Writes down in `applied` what it does. Raises ClusterError where the API server refuses one; what was done
        before stays, and is found done next time.
        """
        await self.keep(mirror, objects, applied)
        if f"{SECRET.name} {mirror.object_name}" in applied.foreign:
            return
        desired = {(kind, body["metadata"]["name"]) for kind, body in objects}
        for kind in reversed(CHILDREN):
            await self._prune(mirror, kind, desired, applied)

    async def keep(self, mirror: Mirror, objects: list[tuple[Kind, Json]], applied: ApplyResult) -> None:
        """The same, deleting nothing: of a part of a mirror's objects."""
        for kind, body in objects:
            try:
                await self._one(mirror, kind, body, applied)
            except (Forbidden, Invalid) as error:
                # The others are made and mended all the same.
                applied.refused[f"{kind.name} {body['metadata']['name']}"] = str(error)
            if kind is SECRET and applied.foreign:
                return  # pods would mount somebody else's Secret, and each pass would issue another certificate

    def forget(self, what: str) -> None:
        """Drops what is remembered of an object whose mirror is gone."""
        self.contest.forget(what)
        self.contest.forget(_left_over(what))
        self.durations.forget(what)

    async def create(self, kind: Kind, body: Json) -> Json:
        """Makes an object that is not there and returns it as stored. Raises ClusterError."""
        store, name = self.state.children[kind], body["metadata"]["name"]
        with store.writing(name):
            stored = await self.cluster.create(kind, self.namespace, merge_patch.without_nulls(body))
            store.put(stored, quietly=True)
        return stored

    async def _one(self, mirror: Mirror, kind: Kind, body: Json, applied: ApplyResult) -> None:
        name = body["metadata"]["name"]
        what = f"{kind.name} {name}"
        current = self.state.children[kind].get(name)
        if current is None:
            self.durations.forget(what)
            self._compare(kind, await self.create(kind, body), body, applied)
            applied.created.append(what)
            return
        whose = ownership_of(current, mirror)
        if whose is Ownership.NOT_OWNED:
            applied.foreign[what] = describe_owner(current)
        elif whose is Ownership.TERMINATING:
            applied.passing.append(what)
            if since := current["metadata"].get("deletionTimestamp"):
                seen = self.durations.held(what, current["metadata"]["uid"], self.clock())
                applied.going[what] = since, list(current["metadata"].get("finalizers") or []), seen
            else:
                await self._clear(mirror, kind, current, body, applied)
        else:
            await self._mend(kind, current, body, whose, applied)

    async def _mend(self, kind: Kind, current: Json, body: Json, whose: Ownership, applied: ApplyResult) -> None:
        what = f"{kind.name} {body['metadata']['name']}"
        desired = _fingerprint(body)
        frozen = frozen_differences(kind, current, body)
        if frozen:
            await self._replace(kind, current, desired, frozen, applied)
            return
        patch = _missing(kind, current, body)
        if not patch:
            self.durations.forget(what)
        if not patch or self._contested(what, desired, applied):
            return
        version = preconditions(current)
        sent = {**patch, "metadata": {**patch.get("metadata", {}), **version}}
        store, name = self.state.children[kind], body["metadata"]["name"]
        with store.writing(name):
            stored = await self.cluster.patch(kind, self.namespace, name, sent)
            store.put(stored, quietly=True)
        self._compare(kind, stored, body, applied)
        if stored["metadata"]["resourceVersion"] == version["resourceVersion"]:
            return  # nothing came of it
        self.contest.repaired(what, desired, self.clock())
        if whose is Ownership.ORPHANED:
            applied.adopted.append(what)
        else:
            applied.repaired[what] = merge_patch.paths(patch)

    def _compare(self, kind: Kind, stored: Json, body: Json, applied: ApplyResult) -> None:
        """Notes what was stored otherwise than it was sent, by somebody's admission webhook or policy."""
        what, now = f"{kind.name} {body['metadata']['name']}", self.clock()
        fields = tuple(merge_patch.paths(_missing(kind, stored, body)))
        if not fields:
            self.durations.forget(what)
            return
        held = self.durations.held(what, fields, now)
        if not held:
            applied.altered[what] = list(fields)
        applied.altered_for = held if applied.altered_for is None else min(held, applied.altered_for)

    async def _replace(self, kind: Kind, current: Json, desired: int, frozen: list[str], applied: ApplyResult) -> None:
        """Deletes what cannot be changed, to be made again; rarely, where it comes back as it was."""
        what = f"{kind.name} {current['metadata']['name']}"
        if self._contested(what, desired, applied):
            return
        await self.cluster.delete(kind, self.namespace, current)
        self.contest.repaired(what, desired, self.clock(), REPLACEMENT)
        applied.replaced[what] = frozen

    async def _clear(self, mirror: Mirror, kind: Kind, current: Json, body: Json, applied: ApplyResult) -> None:
        """Deletes what an earlier mirror of this name has left, to be made anew; rarely, where it comes back.

        Kubernetes' garbage collector would, and minutes later: it makes twenty requests a second.
        """
        what, desired = f"{kind.name} {current['metadata']['name']}", _fingerprint(body)
        # A quarrel of its own: repairs of what is made anew are not to wait for it.
        if self._contested(_left_over(what), desired, applied):
            return
        await self._be_latest(mirror, applied)
        await self.cluster.delete(kind, self.namespace, current)
        self.contest.repaired(_left_over(what), desired, self.clock(), REPLACEMENT)
        applied.cleared.append(what)

    async def _be_latest(self, mirror: Mirror, applied: ApplyResult) -> None:
        """Raises Conflict where another mirror has this name by now, which the watch has yet to bring.

        What another leader made for that one would look like an earlier one's.
        """
        if not applied.latest:
            pages = self.cluster.pages(MIRROR, None, f"metadata.name={mirror.name}")
            if {each["metadata"]["uid"] async for items, _ in pages for each in items} != {mirror.uid}:
                raise Conflict(f"RegistryMirror {mirror.name} was deleted since it was read")
            applied.latest = True

    def _contested(self, what: str, desired: int, applied: ApplyResult) -> bool:
        wait = self.contest.wait(what, desired, self.clock())
        if wait:
            applied.wait_for(wait)
            if self.contest.news(what):
                applied.contested.append(what)
        return wait > 0

    async def _prune(self, mirror: Mirror, kind: Kind, desired: set[tuple[Kind, str]], applied: ApplyResult) -> None:
        store = self.state.children[kind]
        for name in (names.object_name(mirror.name), names.headless_name(mirror.name)):
            current = store.get(name)
            if (kind, name) in desired or current is None or ownership_of(current, mirror) is not Ownership.OWNED:
                continue
            await self.cluster.delete(kind, self.namespace, current)
            applied.pruned.append(f"{kind.name} {name}")


def _missing(kind: Kind, current: Json, body: Json) -> Json:
    """What is to be patched of `live`, as far as it can be."""
    return merge_patch.merge_patch(current, _keeping_owners(current, without_frozen(kind, body)))


def _left_over(what: str) -> str:
    return f"{what} of an earlier mirror"


def _fingerprint(body: Json) -> int:
    return hash(orjson.dumps(body, option=orjson.OPT_SORT_KEYS))


def _keeping_owners(current: Json, desired: Json) -> Json:
    """`desired` with the owners that others have added beside us, who are no controllers."""
    ours = desired["metadata"]["ownerReferences"]
    others = [
        reference for reference in current["metadata"].get("ownerReferences") or [] if not reference.get("controller")
    ]
    return {**desired, "metadata": {**desired["metadata"], "ownerReferences": [*others, *ours]}}
