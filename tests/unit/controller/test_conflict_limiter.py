"""In a quarrel with somebody else repairs become rare, and never cease."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.apply.conflict_limiter import FREE_REPAIRS, SECONDS_PER_REPAIR, ConflictLimiter

STATE, ANOTHER = 1, 2


def repair(contest: ConflictLimiter, key: str, now: float, desired: int = STATE) -> float:
    """Asks, and repairs where it may be; returns the wait."""
    wait = contest.wait(key, desired, now)
    if wait == 0:
        contest.repaired(key, desired, now)
    return wait


def test_the_first_repairs_are_free_and_then_one_must_wait() -> None:
    contest = ConflictLimiter()
    assert [repair(contest, "Service a", 0) for _ in range(FREE_REPAIRS)] == [0.0] * FREE_REPAIRS
    assert repair(contest, "Service a", 0) == SECONDS_PER_REPAIR
    assert repair(contest, "Service a", 12) == pytest.approx(SECONDS_PER_REPAIR - 12)


def test_who_waits_as_long_as_told_may_repair() -> None:
    contest, now = ConflictLimiter(), 0.0
    for _ in range(50):
        wait = repair(contest, "Service a", now)
        if wait:
            now += wait + 0.001
            assert repair(contest, "Service a", now) == 0.0
    assert now > 20 * SECONDS_PER_REPAIR


def test_asking_without_repairing_costs_nothing() -> None:
    contest = ConflictLimiter()
    for _ in range(3 * FREE_REPAIRS):
        assert contest.wait("Service a", STATE, 0) == 0.0


def test_another_desired_state_is_another_matter() -> None:
    """A person who changes the mirror quarrels with nobody."""
    contest = ConflictLimiter()
    for _ in range(FREE_REPAIRS):
        repair(contest, "Service a", 0)
    assert repair(contest, "Service a", 0, ANOTHER) == 0.0
    assert repair(contest, "Service a", 0, STATE) == 0.0


def test_a_quarrel_is_news_once_until_the_next_repair() -> None:
    contest = ConflictLimiter()
    for _ in range(FREE_REPAIRS):
        repair(contest, "Service a", 0)
    assert [contest.news("Service a") for _ in range(3)] == [True, False, False]
    repair(contest, "Service a", SECONDS_PER_REPAIR + 1)
    assert contest.news("Service a")


def test_after_a_quiet_time_all_free_repairs_are_there_again() -> None:
    contest = ConflictLimiter()
    for start in (0.0, FREE_REPAIRS * SECONDS_PER_REPAIR):
        assert [repair(contest, "Service a", start) for _ in range(FREE_REPAIRS)] == [0.0] * FREE_REPAIRS


def test_one_object_does_not_use_up_the_repairs_of_another_nor_is_it_forgotten_with_it() -> None:
    """`registry-mirror-a` begins the name of `registry-mirror-ab`."""
    contest = ConflictLimiter()
    for _ in range(FREE_REPAIRS):
        repair(contest, "Service registry-mirror-ab", 0)
    assert repair(contest, "Service registry-mirror-a", 0) == 0.0
    contest.forget("Service registry-mirror-a")
    assert repair(contest, "Service registry-mirror-ab", 0) > 0
    contest.forget("Service registry-mirror-ab")
    assert repair(contest, "Service registry-mirror-ab", 0) == 0.0
    contest.forget("Service that never was")


@given(st.lists(st.floats(0, 60), min_size=1, max_size=80))
def test_however_often_it_is_asked_no_more_is_allowed_than_the_bucket_holds(pauses: list[float]) -> None:
    contest, now, allowed = ConflictLimiter(), 0.0, 0
    for pause in pauses:
        now += pause
        allowed += repair(contest, "Service a", now) == 0.0
    assert allowed <= FREE_REPAIRS + now / SECONDS_PER_REPAIR + 0.001
