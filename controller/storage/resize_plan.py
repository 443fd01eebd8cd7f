"""Storage of a mirror that exists: claims grow first, then the StatefulSet is made again around its pods.

A StatefulSet's claim template cannot change and its pods need not: it is deleted leaving its pods behind (orphan),
and made again with the new template, which takes the same pods over, without a restart.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal
from typing import TYPE_CHECKING

from common import names, quantity
from common.defaults import dict_at
from controller.model.results import ResizePlan

if TYPE_CHECKING:
    from collections.abc import Iterable

    from common.types import Json
    from controller.model.mirror import Identity, Mirror


def plan(mirror: Mirror, stateful_set: Json | None, claims: Iterable[Json]) -> ResizePlan:
    """What the difference between wanted and present storage asks for.

    `claims` are those that the mirror's pods use, whoever made them: one that a person made before, by that name, holds
    their data as well, but is left as it is.
    """
    wanted = _stored(mirror.storage)
    there = {claim["metadata"]["name"]: claim for claim in claims}
    present = {name: claim for name, claim in there.items() if "deletionTimestamp" not in claim["metadata"]}
    ours = {name: claim for name, claim in present.items() if is_of(mirror, claim)}
    expected = [names.claim_name(mirror.name, ordinal) for ordinal in range(mirror.spec.replicas)]
    capacities = [capacity_of(present[name]) if name in present else None for name in expected]
    granted = [capacity for capacity in capacities if capacity is not None]
    missing = [name for name, capacity in zip(expected, capacities, strict=True) if (capacity or 0) < wanted]
    return ResizePlan(
        wanted=mirror.storage,
        claims=[claim for claim in ours.values() if is_bound(claim) and _is_to_grow(claim, wanted)],
        replace=stateful_set is not None and _template_storage(stateful_set) != wanted,
        # Those of pods that are scaled away would not come back.
        pending=[ours[name] for name in expected if name in ours and _is_to_renew(ours[name], wanted)],
        absent=[name for name in expected if name not in there],
        missing=missing,
        foreign=[name for name in missing if name in present and name not in ours and is_bound(present[name])],
        granted=_smallest(present[name] for name in expected) if len(granted) == len(expected) else None,
    )


def is_of(mirror: Identity, claim: Json) -> bool:
    """Whether a StatefulSet made the claim from our template: one of that name may be a person's own."""
    return names.mirror_of(claim["metadata"].get("labels") or {}) == mirror.name


def _is_to_grow(claim: Json, wanted: Decimal) -> bool:
    return _asks(claim) != wanted and (capacity_of(claim) or 0) < wanted


def _is_to_renew(claim: Json, wanted: Decimal) -> bool:
    return not is_bound(claim) and _asks(claim) != wanted


def is_bound(claim: Json) -> bool:
    """Whether a claim has its volume; before that it can be neither resized nor otherwise changed."""
    return bool(dict_at(claim, "status").get("phase") == "Bound")


def capacity_of(claim: Json) -> Decimal | None:
    """Storage that a claim has been granted; None before it is bound."""
    value = dict_at(claim, "status", "capacity").get("storage")
    return quantity.parse(value) if is_bound(claim) and value is not None else None


def _asks(claim: Json) -> Decimal:
    return _stored(dict_at(claim, "spec", "resources", "requests").get("storage", "0"))


def _stored(value: object) -> Decimal:
    """An amount as claims and StatefulSets hold it: rounded up to thousandths, where a mirror's spec may be finer."""
    return quantity.parse(value).quantize(Decimal("0.001"), rounding=ROUND_CEILING)


def _template_storage(stateful_set: Json) -> Decimal | None:
    templates = dict_at(stateful_set, "spec").get("volumeClaimTemplates") or []
    return _asks(templates[0]) if templates else None


def _smallest(claims: Iterable[Json]) -> str:
    smallest = min(claims, key=lambda claim: capacity_of(claim) or 0)
    return str(smallest["status"]["capacity"]["storage"])
