"""Compare a mirror's claims and StatefulSet with its spec. Pure.

A StatefulSet's claim template is immutable. The StatefulSet is deleted without its pods (orphan), then created with
the new template. The new StatefulSet adopts the pods, which do not restart.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import TYPE_CHECKING, Final

from common import names, quantity
from common.defaults import dict_at
from controller.model.results import ResizePlan
from controller.objects.finalizer import is_terminating
from controller.objects.ownership import controller_of, owner_reference, owner_uids
from controller.objects.resources import STATEFUL_SET

if TYPE_CHECKING:
    from collections.abc import Iterable

    from common.types import Json
    from controller.model.mirror import Identity, Mirror


# More than `spec.replicas` may be (10), so that claims of removed pods are found too.
ORDINALS: Final = 16


def plan(mirror: Mirror, stateful_set: Json | None, claims: Iterable[Json]) -> ResizePlan:
    """Return the steps from the present claims and StatefulSet to the spec.

    `claims` have the names of the mirror's claims. One without the mirror's labels is a user's own and stays as it is.
    """
    wanted = _rounded(mirror.storage)
    existing = {claim["metadata"]["name"]: claim for claim in claims}
    present = {name: claim for name, claim in existing.items() if not is_terminating(claim)}
    labelled = {name: claim for name, claim in present.items() if _has_labels_of(mirror, claim)}
    expected = [names.claim_name(mirror.name, ordinal) for ordinal in range(mirror.spec.replicas)]
    removed = [names.claim_name(mirror.name, ordinal) for ordinal in range(mirror.spec.replicas, ORDINALS)]
    capacities = [capacity_of(present[name]) if name in present else None for name in expected]
    granted = [capacity for capacity in capacities if capacity is not None]
    missing = [name for name, capacity in zip(expected, capacities, strict=True) if (capacity or 0) < wanted]
    ours = [labelled[name] for name in expected if name in labelled]
    excessive = [claim for claim in ours if _requests_too_much(claim, wanted)]
    return ResizePlan(
        wanted=mirror.storage,
        adopt=[claim for claim in labelled.values() if _is_adoptable(claim)],
        grow=[claim for claim in ours if _needs_growth(claim, wanted)],
        take_back=excessive,
        requested=_request_of(max(excessive, key=_requested)) if excessive else "",
        replace=stateful_set is not None and not _has_template(stateful_set, mirror, wanted),
        recreate=[claim for claim in ours if _is_owned(mirror, claim) and _needs_recreation(claim, wanted)],
        surplus=[labelled[name] for name in removed if name in labelled and _is_owned(mirror, labelled[name])],
        absent=[name for name in expected if name not in existing],
        missing=missing,
        foreign=[name for name in missing if name in present and name not in labelled and is_bound(present[name])],
        granted=_smallest(present[name] for name in expected) if len(granted) == len(expected) else None,
    )


def owned_by(mirror: Identity, claim: Json) -> list[Json]:
    """Return the owner references of a claim that the mirror adopts from a StatefulSet."""
    owners = claim["metadata"].get("ownerReferences") or []
    return [*(owner for owner in owners if owner["kind"] != STATEFUL_SET.name), owner_reference(mirror)]


def is_bound(claim: Json) -> bool:
    """Return True if a claim has its volume. It cannot be resized before."""
    return bool(dict_at(claim, "status").get("phase") == "Bound")


def capacity_of(claim: Json) -> Decimal | None:
    """Return the granted storage of a claim, or None before it is bound."""
    value = dict_at(claim, "status", "capacity").get("storage")
    return quantity.parse(value) if is_bound(claim) and value is not None else None


def _has_labels_of(mirror: Identity, claim: Json) -> bool:
    return names.mirror_of(claim["metadata"].get("labels") or {}) == mirror.name


def _is_owned(mirror: Identity, obj: Json) -> bool:
    return mirror.uid in owner_uids(obj)


def _is_adoptable(claim: Json) -> bool:
    """Return True if a claim has no owner but StatefulSets: the claim of an earlier version, or an orphaned one."""
    controller = controller_of(claim)
    is_foreign = controller is not None and controller["kind"] != STATEFUL_SET.name
    owners = claim["metadata"].get("ownerReferences") or []
    return not is_foreign and not any(owner["kind"] == names.KIND for owner in owners)


def _needs_growth(claim: Json, wanted: Decimal) -> bool:
    return is_bound(claim) and _requested(claim) != wanted and (capacity_of(claim) or 0) < wanted


def _requests_too_much(claim: Json, wanted: Decimal) -> bool:
    """Return True if a growth that was given up is still requested."""
    return (capacity_of(claim) or 0) >= wanted and _requested(claim) > least_request(claim)


def least_request(claim: Json) -> int:
    """Return the least request in bytes that the API server accepts for a bound claim with a larger request."""
    return int((capacity_of(claim) or Decimal(0)).to_integral_value(ROUND_FLOOR)) + 1


def _needs_recreation(claim: Json, wanted: Decimal) -> bool:
    return not is_bound(claim) and _requested(claim) != wanted


def _has_template(stateful_set: Json, mirror: Mirror, wanted: Decimal) -> bool:
    """Return True if new claims would get the wanted size and the mirror as their owner."""
    templates = dict_at(stateful_set, "spec").get("volumeClaimTemplates") or []
    return bool(templates) and _requested(templates[0]) == wanted and _is_owned(mirror, templates[0])


def _requested(claim: Json) -> Decimal:
    return _rounded(_request_of(claim))


def _request_of(claim: Json) -> str:
    return str(dict_at(claim, "spec", "resources", "requests").get("storage", "0"))


def _rounded(value: object) -> Decimal:
    """Return an amount rounded up to thousandths of a byte, as the API server stores it in claims."""
    return quantity.parse(value).quantize(Decimal("0.001"), rounding=ROUND_CEILING)


def _smallest(claims: Iterable[Json]) -> str:
    smallest = min(claims, key=lambda claim: capacity_of(claim) or 0)
    return str(smallest["status"]["capacity"]["storage"])
