"""When claims outlive their StatefulSet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from controller.storage.claim_retention import (
    OWNED_ALL,
    OWNED_SOME,
    TAKEN_BACK,
    TOLD_ANNOTATION,
    Stage,
    is_told,
    stage,
    telling,
)
from tests.support.controller import a_claim

if TYPE_CHECKING:
    from common.types import Json

UID = "0a5e0000-0000-4000-8000-000000000002"
PERSONS: Json = {"uid": "theirs", "kind": "ConfigMap", "controller": True}


def a_stateful_set(when_deleted: str | None, told: str | None = None) -> Json:
    """One with that retention of claims; `told` is what our annotation says of how they were."""
    policy = {} if when_deleted is None else {"persistentVolumeClaimRetentionPolicy": {"whenDeleted": when_deleted}}
    annotations = {} if told is None else {TOLD_ANNOTATION: told}
    return {"metadata": {"uid": UID, "annotations": annotations}, "spec": policy}


def a_bound(ordinal: int, *owners: str | Json) -> Json:
    """A claim with a volume; an owner that is a text is the UID of a StatefulSet."""
    claim = a_claim(ordinal, "20Gi", "20Gi")
    sets = [{"uid": each, "kind": "StatefulSet", "controller": True} for each in owners if isinstance(each, str)]
    claim["metadata"]["ownerReferences"] = [*sets, *(each for each in owners if not isinstance(each, str))]
    return claim


GOING = a_bound(1)
GOING["metadata"]["deletionTimestamp"] = "2026-06-01T12:00:00Z"
UNBOUND = a_claim(1, "20Gi")
OWNED, LET_GO = [a_bound(0, UID), a_bound(1, UID)], [a_bound(0), a_bound(1, UID)]
CASES: dict[str, tuple[Json, list[Json], Stage]] = {
    "owned by a former one": (a_stateful_set("Delete"), [a_bound(0, UID), a_bound(1, "former")], Stage.TAKING_OVER),
    "owned by nobody": (a_stateful_set("Delete"), LET_GO, Stage.TAKING_OVER),
    "all owned": (a_stateful_set("Delete"), OWNED, Stage.OWNED),
    "one without a volume": (a_stateful_set("Delete"), [a_bound(0, UID), UNBOUND], Stage.OWNED),
    "one that is going": (a_stateful_set("Delete"), [a_bound(0, UID), GOING], Stage.OWNED),
    "one that somebody else has": (a_stateful_set("Delete"), [a_bound(0, UID), a_bound(1, PERSONS)], Stage.OWNED),
    "no volume at all": (a_stateful_set("Delete"), [UNBOUND], Stage.KEPT),
    "put back": (a_stateful_set("Delete", OWNED_ALL), OWNED, Stage.OWNED),
    "told, and not seen": (a_stateful_set("Retain", OWNED_ALL), OWNED, Stage.LETTING_GO),
    "the first let go of": (a_stateful_set("Retain", OWNED_ALL), LET_GO, Stage.KEPT),
    "told before all were owned": (a_stateful_set("Retain", OWNED_SOME), LET_GO, Stage.LETTING_GO),
    "kept by somebody's policy": (a_stateful_set("Retain"), [a_bound(0), a_bound(1)], Stage.KEPT),
    "kept by somebody's policy since just now": (a_stateful_set("Retain"), LET_GO, Stage.LETTING_GO),
    "an old Kubernetes": (a_stateful_set(None), [a_bound(0), a_bound(1)], Stage.KEPT),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_stage(case: tuple[Json, list[Json], Stage]) -> None:
    stateful_set, claims, expected = case
    assert stage(stateful_set, claims) is expected


@pytest.mark.parametrize("reached", [Stage.OWNED, Stage.TAKING_OVER])
def test_what_it_is_told_is_what_is_looked_for(reached: Stage) -> None:
    told = telling(reached)
    told["metadata"]["uid"] = UID
    assert is_told(told)
    assert stage(told, OWNED) is Stage.LETTING_GO
    assert stage({"metadata": {"uid": UID}, "spec": TAKEN_BACK["spec"]}, LET_GO) is Stage.TAKING_OVER


def test_what_somebody_else_has_told_it_is_not_ours() -> None:
    assert not is_told(a_stateful_set("Retain"))
    assert is_told(a_stateful_set("Delete", OWNED_ALL)), "put back"
