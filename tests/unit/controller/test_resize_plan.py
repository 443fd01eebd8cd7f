"""The resize plan for each combination of claims, StatefulSet and wanted storage."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import quantity
from controller.storage import resize_plan
from tests.support.controller import UID, a_claim, a_stateful_set, parsed
from tests.support.mirrors import a_mirror

if TYPE_CHECKING:
    from common.types import Json
    from controller.model.results import ResizePlan

ZERO, ONE, TWO = (f"image-store-registry-mirror-docker-{ordinal}" for ordinal in range(3))


@dataclass(frozen=True)
class Case:
    """A mirror of two cache pods that wants `wanted`, beside what is expected of the plan."""

    wanted: str
    template: str | None
    claims: list[Json]
    grow: list[str] = field(default_factory=list)
    replace: bool = False
    recreate: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    granted: str | None = None
    adopt: list[str] = field(default_factory=list)
    surplus: list[str] = field(default_factory=list)
    take_back: list[str] = field(default_factory=list)


def _owned(claim: Json, *owners: Json) -> Json:
    """Return the claim with these owners in place of the mirror."""
    claim["metadata"]["ownerReferences"] = list(owners)
    return claim


_STATEFUL_SET: Json = {"kind": "StatefulSet", "uid": "its", "controller": True}
_CONFIG_MAP: Json = {"kind": "ConfigMap", "uid": "its", "controller": True}
_EARLIER: Json = {"kind": "RegistryMirror", "uid": "earlier"}
_TERMINATING = a_claim(0, "20Gi", "20Gi")
_TERMINATING["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
_UNCOUNTED = a_claim(0, "20Gi", "20Gi")
del _UNCOUNTED["status"]["capacity"]
_LOST = a_claim(0, "20Gi")
_LOST["status"] = {"phase": "Lost"}


def _claims(*sizes: tuple[int, int | None]) -> list[Json]:
    """Return a claim for each requested and granted size in Gi."""
    return [a_claim(n, f"{asks}Gi", None if has is None else f"{has}Gi") for n, (asks, has) in enumerate(sizes)]


def _own(ordinal: int, asks: str, has: str | None = None) -> Json:
    """Return a claim that a user created in advance."""
    claim = a_claim(ordinal, asks, has)
    del claim["metadata"]["labels"]
    return claim


CASES = {
    "nothing exists yet": Case("20Gi", None, [], missing=[ZERO, ONE], absent=[ZERO, ONE]),
    "the StatefulSet has just been made": Case("20Gi", "20Gi", [], missing=[ZERO, ONE], absent=[ZERO, ONE]),
    "all is as wanted": Case("20Gi", "20Gi", _claims((20, 20), (20, 20)), granted="20Gi"),
    "the same amount in another spelling": Case("20480Mi", "20Gi", _claims((20, 20), (20, 20)), granted="20Gi"),
    "claims wait for volumes": Case("20Gi", "20Gi", _claims((20, None), (20, None)), missing=[ZERO, ONE]),
    "one claim waits for its volume": Case("20Gi", "20Gi", _claims((20, 20), (20, None)), missing=[ONE]),
    "growth of bound claims": Case(
        "30Gi", "20Gi", _claims((20, 20), (20, 20)), grow=[ZERO, ONE], replace=True, missing=[ZERO, ONE], granted="20Gi"
    ),
    "growth of claims that wait for volumes": Case(
        "30Gi", "20Gi", _claims((20, None), (20, None)), replace=True, recreate=[ZERO, ONE], missing=[ZERO, ONE]
    ),
    "growth of one that is bound and one that waits": Case(
        "30Gi", "20Gi", _claims((20, 20), (20, None)), grow=[ZERO], replace=True, recreate=[ONE], missing=[ZERO, ONE]
    ),
    "growth asked for and not granted yet": Case(
        "30Gi", "20Gi", _claims((30, 20), (30, 30)), replace=True, missing=[ZERO], granted="20Gi"
    ),
    "the StatefulSet is gone and is not replaced twice": Case(
        "30Gi", None, _claims((30, 20), (20, None)), recreate=[ONE], missing=[ZERO, ONE]
    ),
    "replaced, and the claims that wait are recreated": Case(
        "30Gi", "30Gi", _claims((30, 30), (20, None)), recreate=[ONE], missing=[ONE]
    ),
    "bound to larger volumes that were made by hand": Case(
        "20Gi", "20Gi", _claims((20, 50), (20, 100)), granted="50Gi"
    ),
    "growth within the larger volumes that were made by hand": Case(
        "40Gi", "20Gi", _claims((20, 50), (20, 100)), replace=True, granted="50Gi"
    ),
    "growth past one of two larger volumes": Case(
        "60Gi", "20Gi", _claims((20, 50), (20, 100)), grow=[ZERO], replace=True, missing=[ZERO], granted="50Gi"
    ),
    "back from a growth that was not granted": Case(
        "20Gi", "30Gi", _claims((30, 20), (30, 20)), replace=True, granted="20Gi", take_back=[ZERO, ONE]
    ),
    "half way back from a growth that was not granted": Case(
        "25Gi", "30Gi", _claims((30, 20), (30, 20)), grow=[ZERO, ONE], replace=True, missing=[ZERO, ONE], granted="20Gi"
    ),
    "claims that wait ask for less": Case(
        "10Gi", "20Gi", _claims((20, None), (20, None)), replace=True, recreate=[ZERO, ONE], missing=[ZERO, ONE]
    ),
    "claims of an earlier version and orphaned claims": Case(
        "20Gi",
        "20Gi",
        [_owned(a_claim(0, "20Gi", "20Gi"), _STATEFUL_SET), _owned(a_claim(1, "20Gi"))],
        missing=[ONE],
        adopt=[ZERO, ONE],
    ),
    "claims of another controller and of an earlier mirror": Case(
        "20Gi",
        "20Gi",
        [_owned(a_claim(0, "10Gi"), _CONFIG_MAP), _owned(a_claim(1, "20Gi", "20Gi"), _EARLIER)],
        missing=[ZERO],
    ),
    "the claim of a removed pod": Case(
        "30Gi",
        "20Gi",
        _claims((20, 20), (20, 20), (20, 20)),
        grow=[ZERO, ONE],
        replace=True,
        missing=[ZERO, ONE],
        granted="20Gi",
        surplus=[TWO],
    ),
    "the claim of a removed pod is adopted before it is surplus": Case(
        "20Gi",
        "20Gi",
        [a_claim(0, "20Gi", "20Gi"), a_claim(1, "20Gi", "20Gi"), _owned(a_claim(2, "20Gi", "20Gi"))],
        granted="20Gi",
        adopt=[TWO],
    ),
    "the small claim of a removed pod does not count": Case(
        "20Gi", "20Gi", _claims((20, 20), (20, 20), (5, None)), granted="20Gi", surplus=[TWO]
    ),
    "scaled up, and the new claim does not exist yet": Case(
        "20Gi", "20Gi", [a_claim(1, "20Gi", "20Gi")], missing=[ZERO], absent=[ZERO]
    ),
    "a claim being deleted": Case("20Gi", "20Gi", [_TERMINATING, a_claim(1, "20Gi", "20Gi")], missing=[ZERO]),
    "a claim bound and its capacity not reported": Case(
        "20Gi", "20Gi", [_UNCOUNTED, a_claim(1, "20Gi", "20Gi")], missing=[ZERO]
    ),
    "a user's own claim that is large enough": Case(
        "20Gi", "20Gi", [_own(0, "50Gi", "50Gi"), a_claim(1, "20Gi", "20Gi")], granted="20Gi"
    ),
    "a user's own claim lacks size, and is not asked for more": Case(
        "20Gi",
        "20Gi",
        [_own(0, "10Gi", "10Gi"), a_claim(1, "20Gi", "20Gi")],
        missing=[ZERO],
        foreign=[ZERO],
        granted="10Gi",
    ),
    "growth beside a user's own claim": Case(
        "30Gi",
        "20Gi",
        [_own(0, "20Gi", "20Gi"), a_claim(1, "20Gi", "20Gi")],
        grow=[ONE],
        replace=True,
        missing=[ZERO, ONE],
        foreign=[ZERO],
        granted="20Gi",
    ),
    "a user's own claim that waits is not recreated": Case(
        "20Gi", "20Gi", [_own(0, "10Gi"), a_claim(1, "20Gi", "20Gi")], missing=[ZERO]
    ),
    "a claim that lost its volume": Case("20Gi", "20Gi", [_LOST, a_claim(1, "20Gi", "20Gi")], missing=[ZERO]),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_plan_steps(case: Case) -> None:
    plan = _plan(case.wanted, case.template, case.claims)
    assert plan.wanted == case.wanted
    assert _names(plan.grow) == case.grow
    assert plan.replace is case.replace
    assert _names(plan.recreate) == case.recreate
    assert plan.missing == case.missing
    assert plan.foreign == case.foreign
    assert plan.absent == case.absent
    assert plan.granted == case.granted
    assert _names(plan.adopt) == case.adopt
    assert _names(plan.surplus) == case.surplus
    assert _names(plan.take_back) == case.take_back


def test_least_request_is_taken_back_once() -> None:
    """K9: the API server refuses the capacity itself, and a byte more is the least."""
    claims = [a_claim(0, "100Ti", "20Gi"), a_claim(1, "20Gi", "20Gi")]
    plan = _plan("20Gi", "20Gi", claims)
    assert (_names(plan.take_back), plan.requested) == ([ZERO], "100Ti")
    least = resize_plan.least_request(claims[0])
    assert least == 20 * 2**30 + 1
    assert _plan("20Gi", "20Gi", [a_claim(0, str(least), "20Gi"), claims[1]]).take_back == []


def test_template_without_owner_or_claims_is_replaced() -> None:
    """The StatefulSet of an earlier version, of an earlier mirror, or of an old installation."""
    unowned, earlier = a_stateful_set(), a_stateful_set()
    del unowned["spec"]["volumeClaimTemplates"][0]["metadata"]
    earlier["spec"]["volumeClaimTemplates"][0]["metadata"]["ownerReferences"] = [_EARLIER]
    bare: Json = {"spec": {}}
    assert all(resize_plan.plan(parsed(), each, []).replace for each in (unowned, earlier, bare))


def test_adopted_claim_keeps_its_other_owners() -> None:
    visitor: Json = {"kind": "ConfigMap", "uid": "visitor"}
    owners = resize_plan.owned_by(parsed(), _owned(a_claim(0, "20Gi"), visitor, _STATEFUL_SET))
    assert [(each["kind"], each["uid"]) for each in owners] == [("ConfigMap", "visitor"), ("RegistryMirror", UID)]
    assert not any(each.get("controller") for each in owners)


_SIZES = st.integers(1, 4).map("{}Gi".format)
_CLAIMS = st.lists(st.tuples(_SIZES, st.none() | _SIZES), max_size=3)


@given(_SIZES, st.none() | _SIZES, _CLAIMS)
def test_plan_never_shrinks_a_volume(wanted: str, template: str | None, present: list[tuple[str, str | None]]) -> None:
    """Nothing is planned if everything is as wanted."""
    claims = [a_claim(ordinal, asks, has) for ordinal, (asks, has) in enumerate(present)]
    plan = _plan(wanted, template, claims)
    amount = quantity.parse(wanted)
    assert all((resize_plan.capacity_of(claim) or amount) < amount for claim in plan.grow)
    assert all(resize_plan.capacity_of(claim) is None for claim in plan.recreate)
    assert plan.replace == (template is not None and template != wanted)
    as_wanted = all(asks == wanted for asks, _ in present)
    assert not as_wanted or [*plan.grow, *plan.recreate] == []


@given(_SIZES, _CLAIMS)
def test_executed_plan_leaves_nothing_to_plan(wanted: str, present: list[tuple[str, str | None]]) -> None:
    """Claims request more, unbound ones are recreated, the StatefulSet has its new template."""
    claims = [a_claim(ordinal, asks, has) for ordinal, (asks, has) in enumerate(present)]
    plan = _plan(wanted, "1Gi", claims)
    for claim in [*plan.grow, *plan.recreate]:
        claim["spec"]["resources"]["requests"]["storage"] = wanted
    after = _plan(wanted, wanted, claims)
    assert [*after.grow, *after.recreate] == []
    assert not after.replace


def _plan(wanted: str, template: str | None, claims: list[Json]) -> ResizePlan:
    stateful_set = None if template is None else a_stateful_set(template)
    return resize_plan.plan(parsed(a_mirror().storing(wanted)), stateful_set, claims)


def _names(claims: list[Json]) -> list[str]:
    return [claim["metadata"]["name"] for claim in claims]


@pytest.mark.parametrize("wanted", ["123456789.123456789", "1048577.0000000001", "1048576000000001n", "1024.0001Ki"])
def test_amount_finer_than_stored_is_no_growth(wanted: str) -> None:
    """The API server stores it rounded up to thousandths of a byte."""
    kept = f"{int(resize_plan._rounded(wanted) * 1000)}m"
    assert not _plan(wanted, kept, [a_claim(0, kept), a_claim(1, kept)]).replace
    assert _plan(wanted, kept, [a_claim(0, kept), a_claim(1, kept)]).recreate == []
