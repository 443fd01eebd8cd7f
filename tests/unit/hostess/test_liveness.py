"""When a mirror counts as alive."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hostess.health.threshold import DEAD, IN_A_ROW, FailureThreshold


def after(*answers: bool, start: FailureThreshold | None = None) -> FailureThreshold:
    state = start or FailureThreshold()
    for answered in answers:
        state = state.after(answered=answered)
    return state


def test_the_first_answer_counts_at_once_and_one_failure_says_nothing_yet() -> None:
    assert after(True).alive is True
    assert after(False).alive is None
    assert after(False, False).alive is False
    assert after(False, True).alive is True


def test_one_lost_answer_withdraws_nothing_and_one_answer_takes_nothing_up_again() -> None:
    assert after(True, False).alive is True
    assert after(True, False, True, False).alive is True
    assert after(True, False, False).alive is False
    assert after(True, start=DEAD).alive is False
    assert after(True, True, start=DEAD).alive is True


@given(st.lists(st.booleans(), min_size=1))
def test_it_follows_whatever_was_said_twice_in_a_row(answers: list[bool]) -> None:
    state = after(*answers)
    if answers[-IN_A_ROW:] == [answers[-1]] * IN_A_ROW:
        assert state == FailureThreshold(answers[-1])
    assert state.contrary < IN_A_ROW
