"""Carries out a plan of growth on the cluster, in an order that a refusal or a crash leaves sound at each point."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from common import names
from common.defaults import dict_at
from controller import growth
from controller.errors import Forbidden, Invalid
from controller.kinds import CLAIM, STATEFUL_SET
from controller.rollout import is_behind
from controller.standing import Standing, standing

if TYPE_CHECKING:
    from collections.abc import Callable

    from controller.cluster import Cluster
    from controller.growth import Growth
    from controller.mirror import Mirror
    from controller.state import State
    from controller.stopwatches import Stopwatches

Json = dict[str, Any]

# Changed where Kubernetes is to look at a StatefulSet again; the value means nothing.
RENEWED_ANNOTATION: Final = f"{names.GROUP}/claims-renewed"
# More replicas than a mirror may have (10), so that claims of pods that were scaled away are seen too.
_ORDINALS: Final = 16
# Seconds between two nudges, twice as many each time: Kubernetes may have looked before it saw that the claim is gone;
# where it saw and cannot make one (a quota), it tries by itself.
FIRST_PAUSE: Final = 5.0
LONGEST_PAUSE: Final = 60.0
# Seconds that Kubernetes is given to take claims over before their StatefulSet is replaced all the same. It needs less
# than one; it never takes over one that somebody has given another owner.
TAKING_OVER: Final = 30.0


@dataclass(frozen=True, slots=True)
class StorageResult:
    """How the storage of a mirror stands. `refused` is what the API server said where a claim cannot grow.

    `renewing`: there are pods whose claims have yet to be made again, or to be taken over.
    """

    plan: Growth
    refused: str | None = None
    replacing: bool = False
    renewing: bool = False


@dataclass(frozen=True, slots=True)
class _Nudged:
    """That Kubernetes was made to look at a StatefulSet, by UID, and from when on it may be again."""

    uid: str
    pause: float
    until: float


@dataclass(frozen=True, slots=True)
class Storage:
    """Claims and StatefulSets of one namespace. `clock` gives seconds that never go backwards."""

    cluster: Cluster
    namespace: str
    state: State
    clock: Callable[[], float]
    stopwatches: Stopwatches
    _nudged: dict[str, _Nudged] = field(default_factory=dict)  # by mirror

    async def settle(self, mirror: Mirror) -> StorageResult:
        """Does what the plan asks for. `replacing`: the StatefulSet is gone or going, and is to be made again."""
        live = self.state.children[STATEFUL_SET].get(mirror.object_name)
        if live is not None and standing(live, mirror) is not Standing.OURS:
            return StorageResult(growth.plan(mirror, None, self._claims(mirror)))
        plan = growth.plan(mirror, live, self._claims(mirror))
        is_early = self._is_early(mirror, live, plan)
        refused = await self._grow(plan)
        if refused is not None:
            return StorageResult(plan, refused)
        if plan.replace and live is not None:
            if is_early:
                return StorageResult(plan, renewing=True)
            await self.cluster.delete(STATEFUL_SET, self.namespace, live, propagation="Orphan")
            return StorageResult(plan, replacing=True)
        if live is None:
            return StorageResult(plan)
        for claim in plan.pending:
            await self.cluster.delete(CLAIM, self.namespace, claim)
        return StorageResult(plan, renewing=await self._renewing(mirror, live, plan))

    def _is_early(self, mirror: Mirror, live: Json | None, plan: Growth) -> bool:
        """Whether Kubernetes is still to take over claims of the StatefulSet that is to be replaced.

        Where it is in the midst of it, the status is not written yet, and it may write a claim a second time.
        """
        awaited = None
        if live is not None and plan.replace and (plan.unowned or is_behind(live)):
            awaited = live["metadata"]["uid"]
        held = self.stopwatches.held(_taking_over(mirror.name), awaited, self.clock())
        return awaited is not None and held < TAKING_OVER

    async def _renewing(self, mirror: Mirror, live: Json, plan: Growth) -> bool:
        """Whether there are, or should be, pods whose claims are gone.

        Kubernetes makes them again when it looks at their StatefulSet; but that a claim is gone is no reason for it to
        look, so a change of the StatefulSet has to be. Seen in the cluster and not remembered: who deleted the claims
        may have been another controller, or this one before it was killed.
        """
        # One that is still to be scaled is looked at for that; and where Kubernetes has looked, and made no pod as the
        # claims were going (scaled to nothing and back), it has no reason to look again either.
        settled = dict_at(live, "spec").get("replicas") == mirror.spec.replicas and not is_behind(live)
        if not (plan.absent and settled):
            return False
        last, now = self._nudged.get(mirror.name), self.clock()
        if last is None or last.uid != live["metadata"]["uid"]:
            pause = FIRST_PAUSE
        elif now >= last.until:
            pause = min(2 * last.pause, LONGEST_PAUSE)
        else:
            return True
        if not await self._is_absent(plan.absent):
            return True  # the watch brings it any moment
        await self._nudge(live)
        self._nudged[mirror.name] = _Nudged(live["metadata"]["uid"], pause, now + pause)
        return True

    async def _is_absent(self, claims: list[str]) -> bool:
        """Whether one of them is not there, as the API server has it.

        Of what was just made one watch may bring the count of pods before another brings the claims, made first.
        """
        for name in claims:
            pages = self.cluster.pages(CLAIM, self.namespace, f"metadata.name={name}")
            if not [claim async for found, _ in pages for claim in found]:
                return True
        return False

    async def _nudge(self, live: Json) -> None:
        """A change that means nothing."""
        metadata, store = live["metadata"], self.state.children[STATEFUL_SET]
        version = {key: metadata[key] for key in ("uid", "resourceVersion")}
        body = {"metadata": {**version, "annotations": {RENEWED_ANNOTATION: metadata["resourceVersion"]}}}
        with store.writing(metadata["name"]):
            stored = await self.cluster.patch(STATEFUL_SET, self.namespace, metadata["name"], body)
            store.put(stored, quietly=True)

    def forget(self, name: str) -> None:
        """Drops what is remembered of a mirror that is gone."""
        self._nudged.pop(name, None)
        self.stopwatches.forget(_taking_over(name))

    def _claims(self, mirror: Mirror) -> list[Json]:
        found = (self.state.claims.get(names.claim_name(mirror.name, ordinal)) for ordinal in range(_ORDINALS))
        return [claim for claim in found if claim is not None]

    async def _grow(self, plan: Growth) -> str | None:
        """Asks every claim for more, first without effect, so that a refusal leaves all of them as they are."""
        try:
            for dry_run in (True, False):
                for claim in plan.claims:
                    await self._ask(claim, plan.wanted, dry_run=dry_run)
        except (Forbidden, Invalid) as error:
            return str(error)
        return None

    async def _ask(self, claim: Json, storage: str, *, dry_run: bool) -> None:
        metadata = claim["metadata"]
        body = {
            "metadata": {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]},
            "spec": {"resources": {"requests": {"storage": storage}}},
        }
        stored = await self.cluster.patch(CLAIM, self.namespace, metadata["name"], body, dry_run=dry_run)
        if not dry_run:
            self.state.claims.put(stored, quietly=True)


def _taking_over(name: str) -> str:
    return f"{name} taking over"
