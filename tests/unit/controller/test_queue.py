"""Test the work queue: one worker per key, no lost key, rarer retries, bounded memory."""

from __future__ import annotations

import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from controller.workqueue.queue import FIRST_BACKOFF, LONGEST_BACKOFF, LONGEST_COOLDOWN, Queue

KEYS = st.sampled_from(["a", "b", "c"])
DELAYS = st.one_of(st.sampled_from([0.0, 0.01, 1.0, 300.0]), st.floats(0, 1000))


@given(st.lists(DELAYS, min_size=1, max_size=9))
def test_earliest_due_time_counts(dues: list[float]) -> None:
    """A key that was added several times is taken once."""
    queue = Queue()
    for due in dues:
        queue.add("a", due)
    assert queue.next_due() == min(dues)
    assert queue.take(math.nextafter(min(dues), -1)) is None
    assert queue.take(min(dues)) == "a"
    assert queue.take(1e9) is None


@given(st.dictionaries(st.text(max_size=3), DELAYS))
def test_keys_are_taken_by_due_time(dues: dict[str, float]) -> None:
    queue = Queue()
    for key, due in dues.items():
        queue.add(key, due)
    taken = []
    while (key_taken := queue.take(2000)) is not None:
        taken.append(dues[key_taken])
    assert taken == sorted(dues.values())


def test_key_added_in_work_is_due_afterwards() -> None:
    queue = _in_work("a")
    queue.add("a", 100)
    assert queue.take(100) is None
    queue.done("a", 101, requeue_at=999)
    assert queue.take(101) == "a"


def test_done_key_returns_only_if_requeued() -> None:
    queue = _in_work("a")
    queue.done("a", 1, requeue_at=50)
    assert queue.next_due() == 50
    assert queue.take(50) == "a"
    queue.done("a", 51)
    assert queue.next_due() is None


def test_backoff_doubles_and_success_resets_it() -> None:
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


def test_failing_key_does_not_delay_another() -> None:
    queue = _failed_times(9)
    queue.add("b", 0)
    assert queue.take(0) == "b"


@pytest.mark.parametrize("failures", [1, 3, 12])
def test_added_key_cuts_backoff_short(failures: int) -> None:
    """An event just before the failure has the same effect as one just after it."""
    during, after = _failed_times(failures - 1), _failed_times(failures - 1)
    due = during.next_due() or 0.0
    assert (during.take(due), after.take(due)) == ("a", "a")
    during.add("a", due)
    backoff = during.failed("a", due)
    after.failed("a", due)
    after.add("a", due)
    assert during.next_due() == after.next_due()
    expected = min(FIRST_BACKOFF * 2 ** (failures - 1), LONGEST_COOLDOWN)
    assert backoff == pytest.approx(expected)
    assert (during.next_due() or 0) - due == pytest.approx(expected)


def test_self_waking_failure_runs_once_a_second() -> None:
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


@pytest.mark.parametrize("retry_after", [30, 1e9, math.inf])
def test_retry_after_is_bounded_and_respected(retry_after: float) -> None:
    """Events before and after the failure do not shorten it."""
    queue, expected = _in_work("a"), min(retry_after, LONGEST_BACKOFF)
    queue.add("a", 0)
    assert queue.failed("a", 0, at_least=retry_after) == expected
    queue.add("a", 1)
    assert queue.next_due() == expected


def test_replaced_requeues_do_not_accumulate() -> None:
    """Each reconcile requests a requeue far ahead, and an event per second replaces it."""
    queue = Queue()
    for now in range(10_000):
        queue.add("a", now)
        queue.take(now)
        queue.done("a", now, requeue_at=now + 43_200)
    assert len(queue) == 1
    assert len(queue._heap) < 100
    assert queue.next_due() == 9_999 + 43_200


def test_done_keys_leave_no_memory() -> None:
    queue = Queue()
    for number in range(1000):
        queue.add(f"mirror-{number}", number)
        queue.take(number)
        queue.failed(f"mirror-{number}", number)
        queue.take(number + 1)
        queue.done(f"mirror-{number}", number + 1)
    assert not any((queue._due, queue._working, queue._added_in_work, queue._failures, queue._cooldown_until))
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
    """Compare the queue with a model: the keys in work, and for each waiting key the latest due time."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = Queue()
        self.now = 0.0
        self.working: set[str] = set()
        self.added: set[str] = set()
        self.due: dict[str, float] = {}
        self.failing: set[str] = set()

    @initialize(start=DELAYS)
    def begin(self, start: float) -> None:
        """Start the clock anywhere."""
        self.now = start

    @rule(delay=DELAYS)
    def wait(self, delay: float) -> None:
        """Advance the clock."""
        self.now += delay

    @rule(key=KEYS, delay=DELAYS)
    def add(self, key: str, delay: float) -> None:
        """Add a key."""
        self.queue.add(key, self.now + delay)
        if key in self.working:
            self.added.add(key)
        else:
            cooldown = LONGEST_COOLDOWN if key in self.failing else 0.0
            self._expect(key, self.now + max(delay, cooldown))

    @rule()
    def take(self) -> None:
        """Take a key."""
        key = self.queue.take(self.now)
        overdue = {each for each, due in self.due.items() if due <= self.now}
        assert (key is not None) or not overdue
        if key is not None:
            assert key not in self.working
            assert key in self.due
            del self.due[key]
            self.working.add(key)

    @precondition(lambda self: self.working)
    @rule(choice=st.integers(0, 2), delay=st.none() | DELAYS)
    def done(self, choice: int, delay: float | None) -> None:
        """Succeed with a key."""
        key = self._worked_on(choice)
        self.queue.done(key, self.now, None if delay is None else self.now + delay)
        self.failing.discard(key)
        if delay is not None:
            self._expect(key, self.now + delay)
        if key in self.added:
            self.added.discard(key)
            self._expect(key, self.now)

    @precondition(lambda self: self.working)
    @rule(choice=st.integers(0, 2))
    def failed(self, choice: int) -> None:
        """Fail with a key."""
        key = self._worked_on(choice)
        backoff = self.queue.failed(key, self.now)
        assert 0 < backoff <= LONGEST_BACKOFF
        assert key not in self.added or backoff <= LONGEST_COOLDOWN
        self.failing.add(key)
        self.added.discard(key)
        self._expect(key, self.now + backoff)

    def _worked_on(self, choice: int) -> str:
        key = sorted(self.working)[choice % len(self.working)]
        self.working.discard(key)
        return key

    def _expect(self, key: str, due: float) -> None:
        self.due[key] = min(due, self.due.get(key, math.inf))

    @invariant()
    def waiting_keys_are_those_of_the_model(self) -> None:
        """Compare the waiting keys."""
        assert len(self.queue) == len(self.due)
        due = self.queue.next_due()
        assert (due is None) == (not self.due)
        assert due is None or due <= min(self.due.values())


TestQueueAgainstModel = QueueAgainstModel.TestCase
TestQueueAgainstModel.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
