"""Carries out a plan of growth on the cluster, in an order that a refusal or a crash leaves sound at each point."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from common import names
from controller import growth
from controller.errors import Forbidden, Invalid
from controller.kinds import CLAIM, STATEFUL_SET
from controller.standing import Standing, standing

if TYPE_CHECKING:
    from controller.cluster import Cluster
    from controller.growth import Growth
    from controller.mirror import Mirror
    from controller.state import State

Json = dict[str, Any]

# Changed where Kubernetes is to look at a StatefulSet again; the value means nothing.
RENEWED_ANNOTATION: Final = f"{names.GROUP}/claims-renewed"
# More replicas than a mirror may have (10), so that claims of pods that were scaled away are seen too.
_ORDINALS: Final = 16


@dataclass(frozen=True, slots=True)
class StorageResult:
    """How the storage of a mirror stands. `refused` is what the API server said where a claim cannot grow.

    `renewing`: claims were deleted to be made again, and are not there yet.
    """

    plan: Growth
    refused: str | None = None
    replacing: bool = False
    renewing: bool = False


def _is_of(mirror: Mirror, claim: Json) -> bool:
    """Whether a StatefulSet made the claim from our template: one of that name may be a person's own."""
    return names.mirror_of(claim["metadata"].get("labels") or {}) == mirror.name


@dataclass(frozen=True, slots=True)
class Storage:
    """Claims and StatefulSets of one namespace."""

    cluster: Cluster
    namespace: str
    state: State
    # By mirror, names and UIDs of the claims that were deleted to be made again.
    _renewed: dict[str, dict[str, str]] = field(default_factory=dict)

    async def settle(self, mirror: Mirror) -> StorageResult:
        """Does what the plan asks for. `replacing`: the StatefulSet is gone or going, and is to be made again."""
        live = self.state.children[STATEFUL_SET].get(mirror.object_name)
        if live is not None and standing(live, mirror) is not Standing.OURS:
            return StorageResult(growth.plan(mirror, None, self._claims(mirror)))
        plan = growth.plan(mirror, live, self._claims(mirror))
        refused = await self._grow(plan)
        if refused is not None:
            return StorageResult(plan, refused)
        if plan.replace and live is not None:
            await self.cluster.delete(STATEFUL_SET, self.namespace, live, propagation="Orphan")
            return StorageResult(plan, replacing=True)
        if live is None:
            return StorageResult(plan)
        for claim in plan.pending:
            await self.cluster.delete(CLAIM, self.namespace, claim)
            self._renewed.setdefault(mirror.name, {})[claim["metadata"]["name"]] = claim["metadata"]["uid"]
        return StorageResult(plan, renewing=await self._renewing(mirror, live))

    async def _renewing(self, mirror: Mirror, live: Json) -> bool:
        """Whether deleted claims are not there again yet.

        Kubernetes makes them for pods that wait, when it looks at their StatefulSet; but that a claim is gone is no
        reason for it to look, so a change of the StatefulSet has to be.
        """
        renewed = self._renewed.pop(mirror.name, {})
        present = {name: self.state.claims.get(name) for name in renewed}
        waiting = {
            name: uid
            for name, uid in renewed.items()
            if (claim := present[name]) is None or claim["metadata"]["uid"] == uid
        }
        if not waiting:
            return False
        self._renewed[mirror.name] = waiting
        if any(present[name] is None for name in waiting):
            metadata = live["metadata"]
            version = {key: metadata[key] for key in ("uid", "resourceVersion")}
            body = {"metadata": {**version, "annotations": {RENEWED_ANNOTATION: metadata["resourceVersion"]}}}
            stored = await self.cluster.patch(STATEFUL_SET, self.namespace, metadata["name"], body)
            self.state.children[STATEFUL_SET].put(stored, quietly=True)
        return True

    def _claims(self, mirror: Mirror) -> list[Json]:
        found = (self.state.claims.get(names.claim_name(mirror.name, ordinal)) for ordinal in range(_ORDINALS))
        return [claim for claim in found if claim is not None and _is_of(mirror, claim)]

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
