"""Carries out a plan of growth on the cluster, in an order that a refusal or a crash leaves sound at each point."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from common import names
from common.defaults import dict_at
from controller.kubeclient.errors import Forbidden, Invalid, Unavailable
from controller.model.results import DeletionResult, StorageResult
from controller.objects.finalizer import is_terminating
from controller.objects.ownership import Ownership, controller_of, ownership_of
from controller.objects.preconditions import preconditions
from controller.objects.resources import CLAIM, POD, STATEFUL_SET
from controller.objects.rollout import is_behind
from controller.storage import claim_retention, resize_plan
from controller.storage.claim_retention import Stage

if TYPE_CHECKING:
    from collections.abc import Callable

    from common.types import Json
    from controller.duration_tracker import DurationTracker
    from controller.informer.cluster_cache import ClusterCache
    from controller.kubeclient.client import KubeClient
    from controller.model.mirror import Identity, Mirror
    from controller.model.results import ResizePlan
    from controller.objects.resources import Kind


# Changed where Kubernetes is to look at a StatefulSet again; the value means nothing.
RENEWED_ANNOTATION: Final = f"{names.GROUP}/claims-renewed"
# More replicas than a mirror may have (10), so that claims of pods that were scaled away are seen too.
_ORDINALS: Final = 16
# Seconds between two nudges, twice as many each time: Kubernetes may have looked before it saw that the claim is gone;
# where it saw and cannot make one (a quota), it tries by itself.
FIRST_PAUSE: Final = 5.0
LONGEST_PAUSE: Final = 60.0
# Seconds that Kubernetes is given for each stage of letting go of claims; it needs less than one. It may never get
# there where a pod is in its way, as one that has failed.
STAGE_LIMIT: Final = 30.0


@dataclass(frozen=True, slots=True)
class _Nudged:
    """That Kubernetes was made to look at a StatefulSet, by UID, and from when on it may be again."""

    uid: str
    pause: float
    until: float


@dataclass(frozen=True, slots=True)
class Storage:
    """Claims and StatefulSets of one namespace. `clock` gives seconds that never go backwards."""

    cluster: KubeClient
    namespace: str
    state: ClusterCache
    clock: Callable[[], float]
    durations: DurationTracker
    _nudged: dict[str, _Nudged] = field(default_factory=dict)  # by mirror

    async def settle(self, mirror: Mirror) -> StorageResult:
        """Does what the plan asks for, as far as it can be done now."""
        current = self.state.children[STATEFUL_SET].get(mirror.object_name)
        ours = current is not None and ownership_of(current, mirror) is Ownership.OWNED
        plan = resize_plan.plan(mirror, current if ours else None, self._claims(mirror))
        refused = None if current is not None and not ours else await self._grow(plan)
        if current is not None and plan.replace and refused is None:
            return await self._replace(mirror, current, plan)
        self.durations.forget(_letting_go(mirror.name))
        if current is None or not ours or refused is not None:
            return StorageResult(plan, refused)
        try:
            return StorageResult(plan, renewing=await self._settled(mirror, current, plan))
        except (Forbidden, Invalid) as error:
            # A policy that protects claims, say: all else of the mirror is kept all the same.
            return StorageResult(plan, f"The claims cannot be brought to {plan.wanted}: {error}")

    async def _settled(self, mirror: Mirror, current: Json, plan: ResizePlan) -> bool:
        """What is left to do once no StatefulSet is to be replaced; returns whether claims are yet to be made again."""
        if claim_retention.is_told(current):  # a growth that was taken back meanwhile
            current = await self._change(current, claim_retention.TAKEN_BACK)
        for claim in plan.pending:
            await self.cluster.delete(CLAIM, self.namespace, claim)
        for claim in self._claims(mirror):
            if claim_retention.is_marked(claim, mirror) and claim_retention.is_owned(claim, current):
                await self._change_claim(claim, claim_retention.marking(mirror, kept=False))
        return await self._renewing(mirror, current, plan)

    async def part(self, mirror: Identity) -> DeletionResult:
        """Sees to it that nothing outlives a mirror that is deleted while its StatefulSet is being made again."""
        failing = f"{mirror.name} parting"
        try:
            parting = await self._parted(mirror)
        except (Forbidden, Invalid) as error:
            return DeletionResult(refused=[str(error)])
        except Unavailable as error:
            if self.durations.held(failing, mirror.uid, self.clock()) < STAGE_LIMIT:
                raise
            return DeletionResult(refused=[str(error)])
        self.durations.forget(failing)
        return parting

    async def _parted(self, mirror: Identity) -> DeletionResult:
        current = self.state.children[STATEFUL_SET].get(mirror.object_name)
        if current is not None and ownership_of(current, mirror) is Ownership.OWNED:
            if claim_retention.is_told(current):
                await self._change(current, claim_retention.TAKEN_BACK)
                return DeletionResult(waiting=True)
            stage, held = self._stage(mirror, current, "parting")
            return DeletionResult(waiting=stage is Stage.TAKING_OVER and held < STAGE_LIMIT)
        marked = [claim for claim in self._claims(mirror) if claim_retention.is_marked(claim, mirror)]
        if not marked or (current is not None and not is_terminating(current)):
            return DeletionResult()
        # By the claims it is known that there may be pods.
        refused = await self._drop(POD, await self._pods(mirror), current)
        return DeletionResult(refused=refused + await self._drop(CLAIM, marked, current))

    async def _pods(self, mirror: Identity) -> list[Json]:
        labels = names.selector(names.pod_labels(mirror.name, names.REGISTRY))
        pages = self.cluster.pages(POD, self.namespace, labels=labels)
        return [pod async for found, _ in pages for pod in found]

    async def _drop(self, kind: Kind, found: list[Json], current: Json | None) -> list[str]:
        """Deletes those that are nobody's, or the StatefulSet's; returns what was refused."""
        refused, uid = [], dict_at(current, "metadata").get("uid")
        for each in found:
            owner = controller_of(each)
            if is_terminating(each) or (owner is not None and owner["uid"] != uid):
                continue
            try:
                await self.cluster.delete(kind, self.namespace, each)
            except (Forbidden, Invalid) as error:
                refused.append(f"{kind.name} {each['metadata']['name']}: {error}")
        return refused

    async def _replace(self, mirror: Mirror, current: Json, plan: ResizePlan) -> StorageResult:
        try:
            if not await self._lets_go(mirror, current):
                return StorageResult(plan, replacing=True, renewing=True)
            await self.cluster.delete(STATEFUL_SET, self.namespace, current, propagation="Orphan")
        except (Forbidden, Invalid) as error:
            refused = f"The claims grow, but their StatefulSet cannot be made again for {plan.wanted}: {error}"
            return StorageResult(plan, refused, replacing=True)
        return StorageResult(plan, replacing=True)

    async def _lets_go(self, mirror: Mirror, current: Json) -> bool:
        """Whether the claims would outlive the StatefulSet; does what is next for that."""
        stage, held = self._stage(mirror, current, "replacing")
        if stage in (Stage.TAKING_OVER, Stage.LETTING_GO) and held < STAGE_LIMIT:
            return False
        # Once: somebody's policy may put it back each time.
        if stage in (Stage.TAKING_OVER, Stage.OWNED) and not claim_retention.is_told(current):
            for claim in self._claims(mirror):
                if resize_plan.is_of(mirror, claim) and not claim_retention.is_marked(claim, mirror):
                    await self._change_claim(claim, claim_retention.marking(mirror, kept=True))
            await self._change(current, claim_retention.telling(stage))
            return False
        for claim in self._claims(mirror):
            for present in await self._read(claim["metadata"]["name"]):
                if claim_retention.is_owned(present, current):
                    await self._disown(present, current)
        return True

    def _stage(self, mirror: Identity, current: Json, purpose: str) -> tuple[Stage, float]:
        """The stage of the claims, and for how many seconds it has been that."""
        stage = claim_retention.stage(current, self._claims(mirror, dict_at(current, "spec").get("replicas", 0)))
        what = (current["metadata"]["uid"], purpose, stage)
        return stage, self.durations.held(_letting_go(mirror.name), what, self.clock())

    async def _disown(self, claim: Json, current: Json) -> None:
        """Kubernetes lets go of what it knows to be the StatefulSet's, and what it knows may be a little old."""
        others = [owner for owner in claim["metadata"]["ownerReferences"] if owner["uid"] != current["metadata"]["uid"]]
        await self._change_claim(claim, {"metadata": {"ownerReferences": others}})

    async def _renewing(self, mirror: Mirror, current: Json, plan: ResizePlan) -> bool:
        """Whether there are, or should be, pods whose claims are gone.

        Kubernetes makes them again when it looks at their StatefulSet; but that a claim is gone is no reason for it to
        look, so a change of the StatefulSet has to be. Seen in the cluster and not remembered: who deleted the claims
        may have been another controller, or this one before it was killed.
        """
        # One that is still to be scaled is looked at for that; and where Kubernetes has looked, and made no pod as the
        # claims were going (scaled to nothing and back), it has no reason to look again either.
        settled = dict_at(current, "spec").get("replicas") == mirror.spec.replicas and not is_behind(current)
        if not (plan.absent and settled):
            return False
        last, now = self._nudged.get(mirror.name), self.clock()
        if last is None or last.uid != current["metadata"]["uid"]:
            pause = FIRST_PAUSE
        elif now >= last.until:
            pause = min(2 * last.pause, LONGEST_PAUSE)
        else:
            return True
        if not await self._is_absent(plan.absent):
            return True  # the watch brings it any moment
        await self._nudge(current)
        self._nudged[mirror.name] = _Nudged(current["metadata"]["uid"], pause, now + pause)
        return True

    async def _is_absent(self, claims: list[str]) -> bool:
        """Whether one of them is not there, as the API server has it.

        Of what was just made one watch may bring the count of pods before another brings the claims, made first.
        """
        for name in claims:
            if not await self._read(name):
                return True
        return False

    async def _read(self, claim: str) -> list[Json]:
        """The claim of that name as the API server has it now, newer than what the watch may have brought."""
        pages = self.cluster.pages(CLAIM, self.namespace, f"metadata.name={claim}")
        return [each async for found, _ in pages for each in found]

    async def _nudge(self, current: Json) -> None:
        """A change that means nothing."""
        annotations = {RENEWED_ANNOTATION: current["metadata"]["resourceVersion"]}
        await self._change(current, {"metadata": {"annotations": annotations}})

    async def _change(self, current: Json, change: Json) -> Json:
        """Changes a StatefulSet that is as it was seen; returns it as it was stored."""
        name, store = current["metadata"]["name"], self.state.children[STATEFUL_SET]
        with store.writing(name):
            stored = await self.cluster.patch(STATEFUL_SET, self.namespace, name, _of_this_version(current, change))
            store.put(stored, quietly=True)
        return stored

    def forget(self, name: str) -> None:
        """Drops what is remembered of a mirror that is gone."""
        self._nudged.pop(name, None)
        self.durations.forget(_letting_go(name))
        self.durations.forget(f"{name} parting")

    def _claims(self, mirror: Identity, ordinals: int = _ORDINALS) -> list[Json]:
        found = (self.state.claims.get(names.claim_name(mirror.name, ordinal)) for ordinal in range(ordinals))
        return [claim for claim in found if claim is not None]

    async def _grow(self, plan: ResizePlan) -> str | None:
        """Asks every claim for more, first without effect, so that a refusal leaves all of them as they are."""
        try:
            for dry_run in (True, False):
                for claim in plan.claims:
                    await self._ask(claim, plan.wanted, dry_run=dry_run)
        except (Forbidden, Invalid) as error:
            return f"{plan.wanted} cannot be granted, all claims stay as they are: {error}"
        return None

    async def _ask(self, claim: Json, storage: str, *, dry_run: bool) -> None:
        await self._change_claim(claim, {"spec": {"resources": {"requests": {"storage": storage}}}}, dry_run=dry_run)

    async def _change_claim(self, claim: Json, change: Json, *, dry_run: bool = False) -> None:
        """Changes a claim that is as it was seen."""
        body = _of_this_version(claim, change)
        stored = await self.cluster.patch(CLAIM, self.namespace, claim["metadata"]["name"], body, dry_run=dry_run)
        if not dry_run:
            self.state.claims.put(stored, quietly=True)


def _of_this_version(current: Json, change: Json) -> Json:
    """A merge patch that the API server refuses where the object is another by now."""
    return {**change, "metadata": {**preconditions(current), **change.get("metadata", {})}}


def _letting_go(name: str) -> str:
    return f"{name} letting go"
