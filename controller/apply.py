"""Makes the cluster hold the desired objects: creates what is missing, patches what differs, leaves what is right."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from common import names
from controller import difference
from controller.contest import REPLACEMENT
from controller.errors import Conflict, Forbidden, Invalid
from controller.immutable import frozen_differences, without_frozen
from controller.kinds import CHILDREN, MIRROR, SECRET
from controller.standing import Standing, describe_owner, standing

if TYPE_CHECKING:
    from collections.abc import Callable

    from controller.cluster import Cluster
    from controller.contest import Contest
    from controller.kinds import Kind
    from controller.mirror import Mirror
    from controller.state import State
    from controller.stopwatches import Stopwatches

Json = dict[str, Any]


@dataclass(slots=True)
class Applied:
    """What one pass did. Objects are named `Kind name`.

    `wait` is in seconds, until the first of those that are quarrelled over may be mended; 0 where none is.
    """

    created: list[str] = field(default_factory=list)
    repaired: dict[str, list[str]] = field(default_factory=dict)
    adopted: list[str] = field(default_factory=list)
    replaced: dict[str, list[str]] = field(default_factory=dict)
    pruned: list[str] = field(default_factory=list)
    foreign: dict[str, str] = field(default_factory=dict)
    # Told once a quarrel; `wait` says that one goes on.
    contested: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    passing: list[str] = field(default_factory=list)
    cleared: list[str] = field(default_factory=list)
    # Fields that were stored otherwise than they were sent; told once. `altered_for` says that it goes on: of the
    # latest of them, for how many seconds.
    altered: dict[str, list[str]] = field(default_factory=dict)
    altered_for: float | None = None
    # Of those on their way out: since when by the API server's clock, the finalizers that hold them, and for how many
    # seconds this process has seen them go.
    going: dict[str, tuple[str, list[str], float]] = field(default_factory=dict)
    wait: float = 0.0
    # The API server was asked, and knows no later mirror of this name.
    latest: bool = False

    def wait_for(self, seconds: float) -> None:
        """Says that one more object may be mended in so many seconds."""
        self.wait = min(self.wait or seconds, seconds)


@dataclass(frozen=True, slots=True)
class Applier:
    """Applies to one namespace. `clock` gives seconds that never go backwards."""

    cluster: Cluster
    namespace: str
    state: State
    contest: Contest
    stopwatches: Stopwatches
    clock: Callable[[], float]

    async def apply(self, mirror: Mirror, objects: list[tuple[Kind, Json]], applied: Applied) -> None:
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

    async def keep(self, mirror: Mirror, objects: list[tuple[Kind, Json]], applied: Applied) -> None:
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
        self.stopwatches.forget(what)

    async def create(self, kind: Kind, body: Json) -> Json:
        """Makes an object that is not there and returns it as stored. Raises ClusterError."""
        store, name = self.state.children[kind], body["metadata"]["name"]
        with store.writing(name):
            stored = await self.cluster.create(kind, self.namespace, difference.without_nulls(body))
            store.put(stored, quietly=True)
        return stored

    async def _one(self, mirror: Mirror, kind: Kind, body: Json, applied: Applied) -> None:
        name = body["metadata"]["name"]
        what = f"{kind.name} {name}"
        live = self.state.children[kind].get(name)
        if live is None:
            self.stopwatches.forget(what)
            self._compare(kind, await self.create(kind, body), body, applied)
            applied.created.append(what)
            return
        whose = standing(live, mirror)
        if whose is Standing.FOREIGN:
            applied.foreign[what] = describe_owner(live)
        elif whose is Standing.PASSING:
            applied.passing.append(what)
            if since := live["metadata"].get("deletionTimestamp"):
                seen = self.stopwatches.held(what, live["metadata"]["uid"], self.clock())
                applied.going[what] = since, list(live["metadata"].get("finalizers") or []), seen
            else:
                await self._clear(mirror, kind, live, body, applied)
        else:
            await self._mend(kind, live, body, whose, applied)

    async def _mend(self, kind: Kind, live: Json, body: Json, whose: Standing, applied: Applied) -> None:
        what = f"{kind.name} {body['metadata']['name']}"
        desired = _fingerprint(body)
        frozen = frozen_differences(kind, live, body)
        if frozen:
            await self._replace(kind, live, desired, frozen, applied)
            return
        patch = _missing(kind, live, body)
        if not patch:
            self.stopwatches.forget(what)
        if not patch or self._contested(what, desired, applied):
            return
        version = {"resourceVersion": live["metadata"]["resourceVersion"], "uid": live["metadata"]["uid"]}
        sent = {**patch, "metadata": {**patch.get("metadata", {}), **version}}
        store, name = self.state.children[kind], body["metadata"]["name"]
        with store.writing(name):
            stored = await self.cluster.patch(kind, self.namespace, name, sent)
            store.put(stored, quietly=True)
        self._compare(kind, stored, body, applied)
        if stored["metadata"]["resourceVersion"] == version["resourceVersion"]:
            return  # nothing came of it
        self.contest.repaired(what, desired, self.clock())
        if whose is Standing.ORPHAN:
            applied.adopted.append(what)
        else:
            applied.repaired[what] = difference.paths(patch)

    def _compare(self, kind: Kind, stored: Json, body: Json, applied: Applied) -> None:
        """Notes what was stored otherwise than it was sent, by somebody's admission webhook or policy."""
        what, now = f"{kind.name} {body['metadata']['name']}", self.clock()
        fields = tuple(difference.paths(_missing(kind, stored, body)))
        if not fields:
            self.stopwatches.forget(what)
            return
        held = self.stopwatches.held(what, fields, now)
        if not held:
            applied.altered[what] = list(fields)
        applied.altered_for = held if applied.altered_for is None else min(held, applied.altered_for)

    async def _replace(self, kind: Kind, live: Json, desired: int, frozen: list[str], applied: Applied) -> None:
        """Deletes what cannot be changed, to be made again; rarely, where it comes back as it was."""
        what = f"{kind.name} {live['metadata']['name']}"
        if self._contested(what, desired, applied):
            return
        await self.cluster.delete(kind, self.namespace, live)
        self.contest.repaired(what, desired, self.clock(), REPLACEMENT)
        applied.replaced[what] = frozen

    async def _clear(self, mirror: Mirror, kind: Kind, live: Json, body: Json, applied: Applied) -> None:
        """Deletes what an earlier mirror of this name has left, to be made anew; rarely, where it comes back.

        Kubernetes' garbage collector would, and minutes later: it makes twenty requests a second.
        """
        what, desired = f"{kind.name} {live['metadata']['name']}", _fingerprint(body)
        # A quarrel of its own: repairs of what is made anew are not to wait for it.
        if self._contested(_left_over(what), desired, applied):
            return
        await self._be_latest(mirror, applied)
        await self.cluster.delete(kind, self.namespace, live)
        self.contest.repaired(_left_over(what), desired, self.clock(), REPLACEMENT)
        applied.cleared.append(what)

    async def _be_latest(self, mirror: Mirror, applied: Applied) -> None:
        """Raises Conflict where another mirror has this name by now, which the watch has yet to bring.

        What another leader made for that one would look like an earlier one's.
        """
        if not applied.latest:
            pages = self.cluster.pages(MIRROR, None, f"metadata.name={mirror.name}")
            if {each["metadata"]["uid"] async for items, _ in pages for each in items} != {mirror.uid}:
                raise Conflict(f"RegistryMirror {mirror.name} was deleted since it was read")
            applied.latest = True

    def _contested(self, what: str, desired: int, applied: Applied) -> bool:
        wait = self.contest.wait(what, desired, self.clock())
        if wait:
            applied.wait_for(wait)
            if self.contest.news(what):
                applied.contested.append(what)
        return wait > 0

    async def _prune(self, mirror: Mirror, kind: Kind, desired: set[tuple[Kind, str]], applied: Applied) -> None:
        store = self.state.children[kind]
        for name in (names.object_name(mirror.name), names.headless_name(mirror.name)):
            live = store.get(name)
            if (kind, name) in desired or live is None or standing(live, mirror) is not Standing.OURS:
                continue
            await self.cluster.delete(kind, self.namespace, live)
            applied.pruned.append(f"{kind.name} {name}")


def _missing(kind: Kind, live: Json, body: Json) -> Json:
    """What is to be patched of `live`, as far as it can be."""
    return difference.merge_patch(live, _keeping_owners(live, without_frozen(kind, body)))


def _left_over(what: str) -> str:
    return f"{what} of an earlier mirror"


def _fingerprint(body: Json) -> int:
    return hash(orjson.dumps(body, option=orjson.OPT_SORT_KEYS))


def _keeping_owners(live: Json, desired: Json) -> Json:
    """`desired` with the owners that others have added beside us, who are no controllers."""
    ours = desired["metadata"]["ownerReferences"]
    others = [
        reference for reference in live["metadata"].get("ownerReferences") or [] if not reference.get("controller")
    ]
    return {**desired, "metadata": {**desired["metadata"], "ownerReferences": [*others, *ours]}}
