"""How claims are kept when their StatefulSet is to be made again: whose they are, and what comes next. Pure.

Kubernetes makes a StatefulSet the owner of its claims, by what it last saw of both. Where it writes that when the
StatefulSet is gone already, the garbage collector deletes the claim, and its volume with it. So Kubernetes is first to
have made it their owner, then is told to keep them (`Retain`), and the StatefulSet goes when Kubernetes has let go of
one: that proves that it has seen it, after which it makes nobody an owner any more. The StatefulSet's status proves
nothing: the one of a former StatefulSet of that name may be written into it.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

from common import names
from common.defaults import dict_at
from controller.objects.ownership import controller_of
from controller.objects.resources import STATEFUL_SET
from controller.storage.resize_plan import is_bound

if TYPE_CHECKING:
    from collections.abc import Iterable

    from common.types import Json
    from controller.model.mirror import Identity


FIELD: Final = "persistentVolumeClaimRetentionPolicy"
# On a StatefulSet that was told to keep its claims by this controller, and whether it owned all of them then.
TOLD_ANNOTATION: Final = f"{names.GROUP}/claims-kept"
# On a claim that its StatefulSet is to let go of: the UID of the mirror that it goes with all the same.
KEPT_ANNOTATION: Final = f"{names.GROUP}/kept-for"
TAKEN_BACK: Final = {
    "metadata": {"annotations": {TOLD_ANNOTATION: None}},
    "spec": {FIELD: {"whenDeleted": "Delete"}},
}
OWNED_ALL: Final = "all-owned"
OWNED_SOME: Final = "some-owned"


class Stage(Enum):
    """How far the claims of a StatefulSet are from outliving it."""

    TAKING_OVER = "Kubernetes is still to make it the owner of some"
    OWNED = "they would go with it"
    LETTING_GO = "Kubernetes is still to see that they are to be kept"
    KEPT = "they stay"


def stage(stateful_set: Json, claims: Iterable[Json]) -> Stage:
    """The stage of the claims that the StatefulSet's pods use; one without a volume has nothing to lose."""
    owned = [is_owned(claim, stateful_set) for claim in claims if _is_taken_over(claim)]
    if not owned:
        return Stage.KEPT
    if deletes(stateful_set):
        return Stage.OWNED if all(owned) else Stage.TAKING_OVER
    told = dict_at(stateful_set, "metadata", "annotations").get(TOLD_ANNOTATION)
    if told == OWNED_SOME:
        return Stage.LETTING_GO  # one that is not owned proves nothing: it may never have been
    let_go = not all(owned) if told == OWNED_ALL else not any(owned)
    return Stage.KEPT if let_go else Stage.LETTING_GO


def telling(reached: Stage) -> Json:
    """Merge patch that tells a StatefulSet to keep its claims, at the stage that was reached."""
    owned = OWNED_ALL if reached is Stage.OWNED else OWNED_SOME
    return {"metadata": {"annotations": {TOLD_ANNOTATION: owned}}, "spec": {FIELD: {"whenDeleted": "Retain"}}}


def is_told(stateful_set: Json) -> bool:
    """Whether this controller has told it to keep its claims, be it that somebody has put that back since."""
    return TOLD_ANNOTATION in dict_at(stateful_set, "metadata", "annotations")


def deletes(stateful_set: Json) -> bool:
    """Whether its claims go with it."""
    return bool(dict_at(stateful_set, "spec", FIELD).get("whenDeleted") == "Delete")


def marking(mirror: Identity, *, kept: bool) -> Json:
    """Merge patch that marks a claim, or takes the mark off."""
    return {"metadata": {"annotations": {KEPT_ANNOTATION: mirror.uid if kept else None}}}


def is_marked(claim: Json, mirror: Identity) -> bool:
    """Whether a claim that nobody owns is to go with the mirror; others may be kept by somebody's policy."""
    return bool(dict_at(claim, "metadata", "annotations").get(KEPT_ANNOTATION) == mirror.uid)


def is_owned(claim: Json, stateful_set: Json) -> bool:
    """Whether the claim says so."""
    owners = claim["metadata"].get("ownerReferences") or ()
    return stateful_set["metadata"]["uid"] in [owner["uid"] for owner in owners]


def _is_taken_over(claim: Json) -> bool:
    """Whether Kubernetes makes a StatefulSet the owner of such a claim: not where somebody has given it another."""
    owner = controller_of(claim)
    theirs = owner is not None and owner["kind"] != STATEFUL_SET.name
    return is_bound(claim) and "deletionTimestamp" not in claim["metadata"] and not theirs
