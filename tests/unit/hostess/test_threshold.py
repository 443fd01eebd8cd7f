"""Test when a mirror counts as alive."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hostess.health.threshold import DEAD, THRESHOLD, FailureThreshold


def after(*answers: bool, start: FailureThreshold | None = None) -> FailureThreshold:
    state = start or FailureThreshold()
    for answered in answers:
        state = state.after(answered=answered)
    return state


def test_first_answer_counts_at_once() -> None:
    assert after(True).alive is True
    assert after(False).alive is None
    assert after(False, False).alive is False
    assert after(False, True).alive is True


def test_single_probes_change_nothing() -> None:
    assert after(True, False).alive is True
    assert after(True, False, True, False).alive is True
    assert after(True, False, False).alive is False
    assert after(True, start=DEAD).alive is False
    assert after(True, True, start=DEAD).alive is True


@given(st.lists(st.booleans(), min_size=1))
def test_two_equal_probes_decide(answers: list[bool]) -> None:
    state = after(*answers)
    if answers[-THRESHOLD:] == [answers[-1]] * THRESHOLD:
        assert state == FailureThreshold(answers[-1])
    assert state.contrary < THRESHOLD
