"""Carries out a plan of growth on the cluster, in an order that a refusal or a crash leaves sound at each point."""

from __future__ import annotations

from dataclasses import dataclass
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

# More replicas than a mirror may have (10), so that claims of pods that were scaled away are seen too.
_ORDINALS: Final = 16


@dataclass(frozen=True, slots=True)
class StorageResult:
    """How the storage of a mirror stands. `refused` is what the API server said where a claim cannot grow."""

    plan: Growth
    refused: str | None = None
    replacing: bool = False


def _is_of(mirror: Mirror, claim: Json) -> bool:
    """Whether a StatefulSet made the claim from our template: one of that name may be a person's own."""
    return names.mirror_of(claim["metadata"].get("labels") or {}) == mirror.name


@dataclass(frozen=True, slots=True)
class Storage:
    """Claims and StatefulSets of one namespace."""

    cluster: Cluster
    namespace: str
    state: State

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
        if live is not None:
            for claim in plan.pending:
                await self.cluster.delete(CLAIM, self.namespace, claim)
        return StorageResult(plan)

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
