"""When claims outlive their StatefulSet."""

from __future__ import annotations

from typing import Any

import pytest

from controller.retention import RETAIN, Stage, stage
from tests.support.controller import a_claim

Json = dict[str, Any]
UID = "0a5e0000-0000-4000-8000-000000000002"
PERSONS: Json = {"uid": "theirs", "kind": "ConfigMap", "controller": True}


def a_stateful_set(when_deleted: str | None) -> Json:
    """One that has been told so."""
    policy = {} if when_deleted is None else {"persistentVolumeClaimRetentionPolicy": {"whenDeleted": when_deleted}}
    return {"metadata": {"uid": UID}, "spec": policy}


def a_bound(ordinal: int, *owners: str | Json) -> Json:
    """A claim with a volume; an owner that is a text is the UID of a StatefulSet."""
    claim = a_claim(ordinal, "20Gi", "20Gi")
    sets = [{"uid": each, "kind": "StatefulSet", "controller": True} for each in owners if isinstance(each, str)]
    claim["metadata"]["ownerReferences"] = [*sets, *(each for each in owners if not isinstance(each, str))]
    return claim


GOING = a_bound(1)
GOING["metadata"]["deletionTimestamp"] = "2026-06-01T12:00:00Z"
UNBOUND = a_claim(1, "20Gi")
CASES: dict[str, tuple[str | None, list[Json], Stage]] = {
    "owned by a former one": ("Delete", [a_bound(0, UID), a_bound(1, "former")], Stage.TAKING_OVER),
    "owned by nobody": ("Delete", [a_bound(0, UID), a_bound(1)], Stage.TAKING_OVER),
    "all owned": ("Delete", [a_bound(0, UID), a_bound(1, UID)], Stage.OWNED),
    "one without a volume": ("Delete", [a_bound(0, UID), UNBOUND], Stage.OWNED),
    "one that is going": ("Delete", [a_bound(0, UID), GOING], Stage.OWNED),
    "one that somebody else has": ("Delete", [a_bound(0, UID), a_bound(1, PERSONS)], Stage.OWNED),
    "no volume at all": ("Delete", [UNBOUND], Stage.KEPT),
    "told, and not seen": ("Retain", [a_bound(0, UID), a_bound(1, UID)], Stage.LETTING_GO),
    "the first let go of": ("Retain", [a_bound(0), a_bound(1, UID)], Stage.KEPT),
    "all let go of": ("Retain", [a_bound(0), a_bound(1)], Stage.KEPT),
    "an old Kubernetes": (None, [a_bound(0), a_bound(1)], Stage.KEPT),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_stage(case: tuple[str | None, list[Json], Stage]) -> None:
    when_deleted, claims, expected = case
    assert stage(a_stateful_set(when_deleted), claims) is expected


def test_what_it_is_told_is_what_is_looked_for() -> None:
    owned = [a_bound(0, UID)]
    assert stage({"metadata": {"uid": UID}, **RETAIN}, owned) is Stage.LETTING_GO
