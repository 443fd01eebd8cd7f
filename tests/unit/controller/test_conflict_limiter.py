"""Test the limit for repairs of an object that another writer keeps changing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.apply.conflict_limiter import (
    FIRST_PAUSE,
    FREE_REPAIRS,
    LONGEST_PAUSE,
    SECONDS_PER_REPAIR,
    ConflictLimiter,
)

STATE, ANOTHER = 1, 2
KEY, FIELDS = "Service registry-mirror-a", ("spec.ports",)


def repair(limiter: ConflictLimiter, now: float, desired: int = STATE, key: str = KEY) -> float:
    """Repair if there is no wait. Return the wait."""
    wait = limiter.wait(key, desired, now)
    if wait == 0:
        limiter.record_repair(key, desired, now)
    return wait


def exhausted() -> ConflictLimiter:
    """Return a limiter without a free repair of KEY at time 0."""
    limiter = ConflictLimiter()
    assert [repair(limiter, 0) for _ in range(FREE_REPAIRS)] == [0.0] * FREE_REPAIRS
    return limiter


def test_repairs_after_the_free_ones_wait() -> None:
    limiter = exhausted()
    assert repair(limiter, 0) == SECONDS_PER_REPAIR
    assert repair(limiter, 12) == pytest.approx(SECONDS_PER_REPAIR - 12)
    assert repair(limiter, SECONDS_PER_REPAIR + 0.001) == 0.0


def test_repairs_never_stop() -> None:
    limiter, now = exhausted(), 0.0
    for _ in range(20):
        now += repair(limiter, now) + 0.001
        assert repair(limiter, now) == 0.0
    assert now > 19 * SECONDS_PER_REPAIR


def test_waiting_costs_nothing() -> None:
    limiter = ConflictLimiter()
    assert [limiter.wait(KEY, STATE, 0) for _ in range(3 * FREE_REPAIRS)] == [0.0] * 3 * FREE_REPAIRS


def test_another_desired_state_is_free() -> None:
    """A user who changes the mirror conflicts with no writer."""
    limiter = exhausted()
    assert repair(limiter, 0, ANOTHER) == 0.0
    assert repair(limiter, 0, STATE) == 0.0


def test_conflict_is_new_once() -> None:
    limiter, ended = exhausted(), FREE_REPAIRS * SECONDS_PER_REPAIR + 1
    assert [limiter.is_new_conflict(KEY, 0) for _ in range(3)] == [True, False, False]
    assert repair(limiter, SECONDS_PER_REPAIR + 1) == 0.0
    assert not limiter.is_new_conflict(KEY, SECONDS_PER_REPAIR + 1), "still the same conflict"
    now = SECONDS_PER_REPAIR + 1 + ended
    assert [repair(limiter, now) for _ in range(FREE_REPAIRS)] == [0.0] * FREE_REPAIRS, "all are free again"
    assert limiter.is_new_conflict(KEY, now)


def test_objects_are_limited_separately() -> None:
    """`registry-mirror-a` begins the name of `registry-mirror-ab`."""
    limiter = exhausted()
    assert repair(limiter, 0, key=f"{KEY}b") == 0.0
    assert repair(limiter, 0) > 0


@given(st.lists(st.floats(0, 60), min_size=1, max_size=80))
def test_repairs_never_exceed_the_bucket(pauses: list[float]) -> None:
    limiter, now, allowed = ConflictLimiter(), 0.0, 0
    for pause in pauses:
        now += pause
        allowed += repair(limiter, now) == 0.0
    assert allowed <= FREE_REPAIRS + now / SECONDS_PER_REPAIR + 0.001


def test_mutated_write_is_repeated_with_backoff() -> None:
    limiter, now, pauses = ConflictLimiter(), 0.0, list[float]()
    news = []
    for _ in range(8):
        news.append(limiter.record_mutation(KEY, STATE, FIELDS, now))
        pauses.append(limiter.wait(KEY, STATE, now, FIELDS))
        now += pauses[-1]
        assert limiter.wait(KEY, STATE, now, FIELDS) == 0.0
    assert news == [True, *[False] * 7]
    assert pauses[:3] == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE]
    assert pauses[-1] == LONGEST_PAUSE
    assert not limiter.is_new_conflict(KEY, now)


def test_mutation_delays_no_other_repair() -> None:
    limiter = ConflictLimiter()
    limiter.record_mutation(KEY, STATE, FIELDS, 0)
    assert limiter.wait(KEY, STATE, 0, (*FIELDS, "spec.selector")) == 0.0
    assert limiter.wait(KEY, ANOTHER, 0, FIELDS) == 0.0
    assert limiter.record_mutation(KEY, STATE, ("spec.selector",), 0), "another field is new"
    assert not limiter.record_mutation(KEY, STATE, (), 0)
    assert limiter.wait(KEY, STATE, 0, FIELDS) == 0.0, "the last write was stored as it was sent"
    assert not limiter.record_mutation("Service that does not exist", STATE, (), 0)
