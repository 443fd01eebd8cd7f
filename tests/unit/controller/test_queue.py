"""The work queue: a key is with one worker at most and never lost, retries become rarer, and nothing piles up."""

from __future__ import annotations

import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from controller.workqueue.queue import FIRST_BACKOFF, LONGEST_BACKOFF, LONGEST_COOLDOWN, Queue

KEYS = st.sampled_from(["a", "b", "c"])
DELAYS = st.one_of(st.sampled_from([0.0, 0.01, 1.0, 300.0]), st.floats(0, 1000))


def test_an_empty_queue_has_nothing_to_give() -> None:
    queue = Queue()
    assert queue.take(1e9) is None
    assert queue.next_due() is None
    assert len(queue) == 0


def test_a_key_added_twice_is_given_once() -> None:
    queue = Queue()
    queue.add("a", 0)
    queue.add("a", 0)
    assert [queue.take(0), queue.take(0)] == ["a", None]


@given(st.lists(DELAYS, min_size=1, max_size=9))
def test_of_several_times_the_earliest_counts(dues: list[float]) -> None:
    queue = Queue()
    for due in dues:
        queue.add("a", due)
    assert queue.next_due() == min(dues)
    assert queue.take(math.nextafter(min(dues), -1)) is None
    assert queue.take(min(dues)) == "a"
    assert queue.take(1e9) is None


@given(st.dictionaries(st.text(max_size=3), DELAYS))
def test_keys_come_in_the_order_in_which_they_are_due(dues: dict[str, float]) -> None:
    queue = Queue()
    for key, due in dues.items():
        queue.add(key, due)
    given_out = []
    while (key_taken := queue.take(2000)) is not None:
        given_out.append(dues[key_taken])
    assert given_out == sorted(dues.values())


def test_a_key_added_while_in_work_comes_back_at_once_when_it_is_done() -> None:
    queue = _in_work("a")
    queue.add("a", 100)
    assert queue.take(100) is None
    queue.done("a", 101, again_at=999)
    assert queue.take(101) == "a"


def test_a_key_that_is_done_comes_back_when_it_was_asked_to_and_otherwise_never() -> None:
    queue = _in_work("a")
    queue.done("a", 1, again_at=50)
    assert queue.next_due() == 50
    assert queue.take(50) == "a"
    queue.done("a", 51)
    assert queue.next_due() is None


def test_the_backoff_doubles_up_to_its_bound_and_success_resets_it() -> None:
    queue, now, backoffs = Queue(), 0.0, []
    for _ in range(20):
        queue.add("a", now)
        now = queue.next_due() or now
        assert queue.take(now) == "a"
        backoffs.append(queue.failed("a", now))
    doubled = [min(LONGEST_BACKOFF, FIRST_BACKOFF * 2**count) for count in range(20)]
    assert backoffs == pytest.approx(doubled)
    queue.take(now + 1000)
    queue.done("a", now + 1000)
    assert _in_work("a", queue, now + 1000).failed("a", now + 1000) == FIRST_BACKOFF


def test_one_key_that_fails_does_not_hold_another_up() -> None:
    queue = _in_work("a")
    for _ in range(9):
        queue.failed("a", 0)
        queue.take(queue.next_due() or 0)
    queue.add("b", 0)
    assert queue.take(0) == "b"


@pytest.mark.parametrize("failures", [1, 3, 12])
def test_news_shortens_a_backoff_whether_it_came_during_the_failing_work_or_after_it(failures: int) -> None:
    """What arrives a moment before the failure is as good a reason to look again as what arrives a moment after."""
    during, after = _failed_times(failures - 1), _failed_times(failures - 1)
    due = during.next_due() or 0.0
    assert (during.take(due), after.take(due)) == ("a", "a")
    during.add("a", due)
    told = during.failed("a", due)
    after.failed("a", due)
    after.add("a", due)
    assert during.next_due() == after.next_due()
    expected = min(FIRST_BACKOFF * 2 ** (failures - 1), LONGEST_COOLDOWN)
    assert told == pytest.approx(expected)
    assert (during.next_due() or 0) - due == pytest.approx(expected)


def test_a_reconcile_that_wakes_itself_and_fails_is_tried_once_a_second_at_most() -> None:
    queue, now, tries = Queue(), 0.0, 0
    queue.add("a", now)
    while now < 60:
        now = queue.next_due() or 1e9
        assert queue.take(now) == "a"
        tries += 1
        queue.add("a", now)
        queue.failed("a", now)
        queue.add("a", now)
    assert tries <= 60 / LONGEST_COOLDOWN + 8


def test_a_server_that_names_a_time_is_left_in_peace_until_then_whatever_happens() -> None:
    queue = _in_work("a")
    queue.add("a", 0)
    assert queue.failed("a", 0, at_least=30) == 30
    queue.add("a", 1)
    assert queue.next_due() == 30


@pytest.mark.parametrize("asked", [1e9, math.inf])
def test_a_server_that_asks_for_years_does_not_lose_us_the_key(asked: float) -> None:
    queue = _in_work("a")
    assert queue.failed("a", 0, at_least=asked) == LONGEST_BACKOFF
    assert queue.take(LONGEST_BACKOFF) == "a"


def test_a_look_that_lies_far_ahead_and_is_replaced_again_and_again_does_not_pile_up() -> None:
    """Every reconcile asks to be repeated in twelve hours, and an event a second replaces that."""
    queue = Queue()
    for now in range(10_000):
        queue.add("a", now)
        queue.take(now)
        queue.done("a", now, again_at=now + 43_200)
    assert len(queue) == 1
    assert len(queue._heap) < 100
    assert queue.next_due() == 9_999 + 43_200


def test_nothing_is_remembered_of_keys_that_are_done() -> None:
    queue = Queue()
    for number in range(1000):
        queue.add(f"mirror-{number}", number)
        queue.take(number)
        queue.failed(f"mirror-{number}", number)
        queue.take(number + 1)
        queue.done(f"mirror-{number}", number + 1)
    assert not any((queue._due, queue._working, queue._dirty, queue._failures, queue._deaf_until))
    assert len(queue._heap) <= 1


def _in_work(key: str, queue: Queue | None = None, now: float = 0.0) -> Queue:
    queue = queue or Queue()
    queue.add(key, now)
    assert queue.take(now) == key
    return queue


def _failed_times(failures: int) -> Queue:
    queue = Queue()
    queue.add("a", 0)
    for _ in range(failures):
        due = queue.next_due() or 0.0
        assert queue.take(due) == "a"
        queue.failed("a", due)
    return queue


class QueueAgainstModel(RuleBasedStateMachine):
    """The queue beside a model that says only what counts: who works on what, and what is owed a look by when.

    `owed` has, for each key, the latest moment at which it must be given out again.
    """

    def __init__(self) -> None:
        super().__init__()
        self.queue = Queue()
        self.now = 0.0
        self.working: set[str] = set()
        self.news: set[str] = set()
        self.owed: dict[str, float] = {}
        self.failing: set[str] = set()

    @initialize(start=DELAYS)
    def begin(self, start: float) -> None:
        """Clocks start anywhere."""
        self.now = start

    @rule(delay=DELAYS)
    def wait(self, delay: float) -> None:
        """Time goes on."""
        self.now += delay

    @rule(key=KEYS, delay=DELAYS)
    def add(self, key: str, delay: float) -> None:
        """An event, or a look that somebody asks for."""
        self.queue.add(key, self.now + delay)
        if key in self.working:
            self.news.add(key)
        else:
            deaf = LONGEST_COOLDOWN if key in self.failing else 0.0
            self._owe(key, self.now + max(delay, deaf))

    @rule()
    def take(self) -> None:
        """A worker is free."""
        key = self.queue.take(self.now)
        overdue = {owed for owed, due in self.owed.items() if due <= self.now}
        assert (key is not None) or not overdue
        if key is not None:
            assert key not in self.working
            assert key in self.owed
            del self.owed[key]
            self.working.add(key)

    @precondition(lambda self: self.working)
    @rule(choice=st.integers(0, 2), delay=st.none() | DELAYS)
    def done(self, choice: int, delay: float | None) -> None:
        """A worker succeeds."""
        key = self._give_back(choice)
        self.queue.done(key, self.now, None if delay is None else self.now + delay)
        self.failing.discard(key)
        if delay is not None:
            self._owe(key, self.now + delay)
        if key in self.news:
            self.news.discard(key)
            self._owe(key, self.now)

    @precondition(lambda self: self.working)
    @rule(choice=st.integers(0, 2))
    def failed(self, choice: int) -> None:
        """A worker fails."""
        key = self._give_back(choice)
        backoff = self.queue.failed(key, self.now)
        assert 0 < backoff <= LONGEST_BACKOFF
        assert key not in self.news or backoff <= LONGEST_COOLDOWN
        self.failing.add(key)
        self.news.discard(key)
        self._owe(key, self.now + backoff)

    def _give_back(self, choice: int) -> str:
        key = sorted(self.working)[choice % len(self.working)]
        self.working.discard(key)
        return key

    def _owe(self, key: str, due: float) -> None:
        self.owed[key] = min(due, self.owed.get(key, math.inf))

    @invariant()
    def nothing_is_lost_and_nothing_is_made_up(self) -> None:
        """Each key that is owed a look waits, and no other."""
        assert len(self.queue) == len(self.owed)
        due = self.queue.next_due()
        assert (due is None) == (not self.owed)
        assert due is None or due <= min(self.owed.values())


TestQueueAgainstModel = QueueAgainstModel.TestCase
TestQueueAgainstModel.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
