"""What is done about storage, for every way in which claims, StatefulSet and wish can stand to each other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import quantity
from controller.storage import resize_plan
from tests.support.controller import a_claim, a_stateful_set, judged
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
    again: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    granted: str | None = None


_GOING = a_claim(0, "20Gi", "20Gi")
_GOING["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
_UNCOUNTED = a_claim(0, "20Gi", "20Gi")
del _UNCOUNTED["status"]["capacity"]
_LOST = a_claim(0, "20Gi")
_LOST["status"] = {"phase": "Lost"}


def _own(ordinal: int, asks: str, has: str | None = None) -> Json:
    """A claim that a person made before the mirror's pods needed it."""
    claim = a_claim(ordinal, asks, has)
    del claim["metadata"]["labels"]
    return claim


CASES = {
    "nothing exists yet": Case("20Gi", None, [], missing=[ZERO, ONE], absent=[ZERO, ONE]),
    "the StatefulSet has just been made": Case("20Gi", "20Gi", [], missing=[ZERO, ONE], absent=[ZERO, ONE]),
    "all is as wanted": Case("20Gi", "20Gi", [a_claim(0, "20Gi", "20Gi"), a_claim(1, "20Gi", "20Gi")], granted="20Gi"),
    "the same amount in another spelling": Case(
        "20480Mi", "20Gi", [a_claim(0, "20Gi", "20Gi"), a_claim(1, "20Gi", "20Gi")], granted="20Gi"
    ),
    "claims wait for volumes": Case("20Gi", "20Gi", [a_claim(0, "20Gi"), a_claim(1, "20Gi")], missing=[ZERO, ONE]),
    "one claim waits for its volume": Case(
        "20Gi", "20Gi", [a_claim(0, "20Gi", "20Gi"), a_claim(1, "20Gi")], missing=[ONE]
    ),
    "growth of bound claims": Case(
        "30Gi",
        "20Gi",
        [a_claim(0, "20Gi", "20Gi"), a_claim(1, "20Gi", "20Gi")],
        grow=[ZERO, ONE],
        replace=True,
        missing=[ZERO, ONE],
        granted="20Gi",
    ),
    "growth of claims that wait for volumes": Case(
        "30Gi", "20Gi", [a_claim(0, "20Gi"), a_claim(1, "20Gi")], replace=True, again=[ZERO, ONE], missing=[ZERO, ONE]
    ),
    "growth of one that is bound and one that waits": Case(
        "30Gi",
        "20Gi",
        [a_claim(0, "20Gi", "20Gi"), a_claim(1, "20Gi")],
        grow=[ZERO],
        replace=True,
        again=[ONE],
        missing=[ZERO, ONE],
    ),
    "growth asked for and not granted yet": Case(
        "30Gi",
        "20Gi",
        [a_claim(0, "30Gi", "20Gi"), a_claim(1, "30Gi", "30Gi")],
        replace=True,
        missing=[ZERO],
        granted="20Gi",
    ),
    "the StatefulSet is on its way and is not replaced twice": Case(
        "30Gi", None, [a_claim(0, "30Gi", "20Gi"), a_claim(1, "20Gi")], again=[ONE], missing=[ZERO, ONE]
    ),
    "replaced, and the claims that wait are to be made again": Case(
        "30Gi", "30Gi", [a_claim(0, "30Gi", "30Gi"), a_claim(1, "20Gi")], again=[ONE], missing=[ONE]
    ),
    "bound to larger volumes that were made by hand": Case(
        "20Gi", "20Gi", [a_claim(0, "20Gi", "50Gi"), a_claim(1, "20Gi", "100Gi")], granted="50Gi"
    ),
    "growth within the larger volumes that were made by hand": Case(
        "40Gi", "20Gi", [a_claim(0, "20Gi", "50Gi"), a_claim(1, "20Gi", "100Gi")], replace=True, granted="50Gi"
    ),
    "growth past one of two larger volumes": Case(
        "60Gi",
        "20Gi",
        [a_claim(0, "20Gi", "50Gi"), a_claim(1, "20Gi", "100Gi")],
        grow=[ZERO],
        replace=True,
        missing=[ZERO],
        granted="50Gi",
    ),
    "back from a growth that was not granted": Case(
        "20Gi", "30Gi", [a_claim(0, "30Gi", "20Gi"), a_claim(1, "30Gi", "20Gi")], replace=True, granted="20Gi"
    ),
    "half way back from a growth that was not granted": Case(
        "25Gi",
        "30Gi",
        [a_claim(0, "30Gi", "20Gi"), a_claim(1, "30Gi", "20Gi")],
        grow=[ZERO, ONE],
        replace=True,
        missing=[ZERO, ONE],
        granted="20Gi",
    ),
    "claims that wait ask for less": Case(
        "10Gi", "20Gi", [a_claim(0, "20Gi"), a_claim(1, "20Gi")], replace=True, again=[ZERO, ONE], missing=[ZERO, ONE]
    ),
    "a pod that was scaled away has left its claim": Case(
        "30Gi",
        "20Gi",
        [a_claim(0, "20Gi", "20Gi"), a_claim(1, "20Gi", "20Gi"), a_claim(2, "20Gi", "20Gi")],
        grow=[ZERO, ONE, TWO],
        replace=True,
        missing=[ZERO, ONE],
        granted="20Gi",
    ),
    "the small claim of a pod that was scaled away says nothing about what is granted": Case(
        "20Gi",
        "20Gi",
        [a_claim(0, "20Gi", "20Gi"), a_claim(1, "20Gi", "20Gi"), a_claim(2, "5Gi")],
        granted="20Gi",
    ),
    "scaled up, and the new claim does not exist yet": Case(
        "20Gi", "20Gi", [a_claim(1, "20Gi", "20Gi")], missing=[ZERO], absent=[ZERO]
    ),
    "a claim on its way out": Case("20Gi", "20Gi", [_GOING, a_claim(1, "20Gi", "20Gi")], missing=[ZERO]),
    "a claim bound and its capacity not told": Case(
        "20Gi", "20Gi", [_UNCOUNTED, a_claim(1, "20Gi", "20Gi")], missing=[ZERO]
    ),
    "a person's own claim that is large enough": Case(
        "20Gi", "20Gi", [_own(0, "50Gi", "50Gi"), a_claim(1, "20Gi", "20Gi")], granted="20Gi"
    ),
    "a person's own claim lacks size, and is not asked for more": Case(
        "20Gi",
        "20Gi",
        [_own(0, "10Gi", "10Gi"), a_claim(1, "20Gi", "20Gi")],
        missing=[ZERO],
        foreign=[ZERO],
        granted="10Gi",
    ),
    "growth beside a person's own claim": Case(
        "30Gi",
        "20Gi",
        [_own(0, "20Gi", "20Gi"), a_claim(1, "20Gi", "20Gi")],
        grow=[ONE],
        replace=True,
        missing=[ZERO, ONE],
        foreign=[ZERO],
        granted="20Gi",
    ),
    "a person's own claim that waits is not made again": Case(
        "20Gi", "20Gi", [_own(0, "10Gi"), a_claim(1, "20Gi", "20Gi")], missing=[ZERO]
    ),
    "a claim that lost its volume": Case("20Gi", "20Gi", [_LOST, a_claim(1, "20Gi", "20Gi")], missing=[ZERO]),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_plan(case: Case) -> None:
    plan = _plan(case.wanted, case.template, case.claims)
    assert plan.wanted == case.wanted
    assert _names(plan.claims) == case.grow
    assert plan.replace is case.replace
    assert _names(plan.pending) == case.again
    assert plan.missing == case.missing
    assert plan.foreign == case.foreign
    assert plan.absent == case.absent
    assert plan.granted == case.granted


def test_a_stateful_set_without_claims_is_made_again_with_them() -> None:
    """One of an old installation, adopted."""
    bare: Json = {"metadata": {}, "spec": {}}
    assert resize_plan.plan(judged(), bare, []).replace


_SIZES = st.integers(1, 4).map("{}Gi".format)
_CLAIMS = st.lists(st.tuples(_SIZES, st.none() | _SIZES), max_size=3)


@given(_SIZES, st.none() | _SIZES, _CLAIMS)
def test_no_plan_ever_shrinks_a_volume_and_none_is_made_where_all_is_as_wanted(
    wanted: str, template: str | None, present: list[tuple[str, str | None]]
) -> None:
    claims = [a_claim(ordinal, asks, has) for ordinal, (asks, has) in enumerate(present)]
    plan = _plan(wanted, template, claims)
    amount = quantity.parse(wanted)
    assert all((resize_plan.capacity_of(claim) or amount) < amount for claim in plan.claims)
    assert all(resize_plan.capacity_of(claim) is None for claim in plan.pending)
    assert plan.replace == (template is not None and template != wanted)
    as_wanted = all(asks == wanted for asks, _ in present)
    assert not as_wanted or [*plan.claims, *plan.pending] == []


@given(_SIZES, _CLAIMS)
def test_a_plan_that_was_carried_out_leaves_nothing_to_plan(wanted: str, present: list[tuple[str, str | None]]) -> None:
    """Claims ask for more, those that wait are gone and made again, the StatefulSet has its new template."""
    claims = [a_claim(ordinal, asks, has) for ordinal, (asks, has) in enumerate(present)]
    plan = _plan(wanted, "1Gi", claims)
    for claim in [*plan.claims, *plan.pending]:
        claim["spec"]["resources"]["requests"]["storage"] = wanted
    after = _plan(wanted, wanted, claims)
    assert [*after.claims, *after.pending] == []
    assert not after.replace


def _plan(wanted: str, template: str | None, claims: list[Json]) -> ResizePlan:
    stateful_set = None if template is None else a_stateful_set(template)
    return resize_plan.plan(judged(a_mirror().storing(wanted)), stateful_set, claims)


def _names(claims: list[Json]) -> list[str]:
    return [claim["metadata"]["name"] for claim in claims]


@pytest.mark.parametrize("wanted", ["123456789.123456789", "1.0000000001", "1n", "0.0001Ki"])
def test_an_amount_finer_than_kubernetes_keeps_is_not_grown_for_ever(wanted: str) -> None:
    """A StatefulSet holds it rounded up to thousandths of a byte."""
    kept = f"{int(resize_plan._stored(wanted) * 1000)}m"
    assert not _plan(wanted, kept, [a_claim(0, kept), a_claim(1, kept)]).replace
    assert _plan(wanted, kept, [a_claim(0, kept), a_claim(1, kept)]).pending == []
