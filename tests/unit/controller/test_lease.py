"""Test the election: at most one leader, despite late or lost requests and clocks of different speed."""

from __future__ import annotations

import copy
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from controller.objects.lease import LEASE_DURATION, RENEW_DEADLINE, RETRY_PERIOD, Election
from tests.support.election import START, Candidate, Server

if TYPE_CHECKING:
    from common.types import Json

# Seconds of a process's clock per true second; the constants of the election tolerate these.
RATES = st.sampled_from([0.975, 1.0, 1.025])


class TwoCandidates(RuleBasedStateMachine):
    """Simulate two processes and one lease; requests take any time, and responses may be lost."""

    def __init__(self) -> None:
        super().__init__()
        self.server, self.now = Server(), 0.0
        self.all = [Candidate(Election("one")), Candidate(Election("two"))]

    @initialize(rates=st.tuples(RATES, RATES), offsets=st.tuples(st.floats(0, 1e6), st.floats(0, 1e6)))
    def differ(self, rates: tuple[float, float], offsets: tuple[float, float]) -> None:
        """Set both clocks; their speeds differ by up to 5 %."""
        for candidate, rate, offset in zip(self.all, rates, offsets, strict=True):
            candidate.rate, candidate.offset = rate, offset

    @rule(seconds=st.one_of(st.sampled_from([RETRY_PERIOD, RENEW_DEADLINE, LEASE_DURATION]), st.floats(0, 20)))
    def wait(self, seconds: float) -> None:
        """Advance the time in steps, as a lease may expire in between."""
        for _ in range(20):
            self.now += seconds / 20
            self.at_most_one_leads()

    @rule(which=st.integers(0, 1))
    def begin(self, which: int) -> None:
        """Begin an attempt; one under way is dropped like a timed-out request."""
        self.all[which].begin(self.now)

    @rule(which=st.integers(0, 1))
    def step(self, which: int) -> None:
        """Run the next step of an attempt."""
        if self.all[which].steps:
            self.all[which].step(self.server, self.now)

    @rule(which=st.integers(0, 1))
    def attempt(self, which: int) -> None:
        """Run a whole attempt, so that leaders are frequent."""
        self.all[which].attempt(self.server, self.now)

    @rule(which=st.integers(0, 1))
    def release(self, which: int) -> None:
        """End a process in order."""
        self.all[which].release(self.server, self.now)
        self.all[which].steps = []

    @precondition(lambda self: self.server.lease is not None)
    @rule()
    def touch(self) -> None:
        """Label the lease: another version with the same record."""
        self.server.version += 1

    @invariant()
    def at_most_one_leads(self) -> None:
        """Count the leaders."""
        assert sum(candidate.leads(self.now) for candidate in self.all) <= 1


TestTwoCandidates = TwoCandidates.TestCase
TestTwoCandidates.settings = settings(
    max_examples=200, stateful_step_count=50, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def test_leader_stops_if_it_cannot_renew() -> None:
    leader = _candidate("one")
    assert leader.attempt(Server(), 0)
    assert leader.leads(RENEW_DEADLINE - 0.001)
    assert not leader.leads(RENEW_DEADLINE)
    assert leader.election.held_until() == RENEW_DEADLINE


def test_renewal_counts_from_its_start() -> None:
    server, leader = Server(), _candidate("one")
    leader.begin(0)
    for moment in (1, 2, 9):
        leader.step(server, moment)
    assert leader.leads(9.9)
    assert not leader.leads(10)


@given(st.floats(0, RETRY_PERIOD), RATES, RATES)
def test_killed_leader_is_replaced_within_lease(phase: float, rate: float, other_rate: float) -> None:
    """The candidate reads the lease every RETRY_PERIOD and at its expiry."""
    server = Server()
    leader, follower = _candidate("one", rate), _candidate("two", other_rate)
    now = 0.0
    while now < 60:
        assert leader.attempt(server, now)
        follower.attempt(server, now + phase)
        now += RETRY_PERIOD
    killed = now
    now += phase
    while not follower.attempt(server, now):
        assert now - killed < 2 * LEASE_DURATION
        free_in = (follower.election.free_at() - follower.clock(now)) / follower.rate
        now += min(RETRY_PERIOD, max(free_in, 0.05))
    assert now - killed <= (LEASE_DURATION / other_rate) + 0.1
    assert not leader.leads(now)


def test_released_lease_is_taken_at_once() -> None:
    server, leader, follower = Server(), _candidate("one"), _candidate("two")
    leader.attempt(server, 0)
    assert not follower.attempt(server, 1)
    leader.release(server, 1)
    assert not leader.leads(1)
    assert follower.attempt(server, 1)


def test_late_candidate_waits_a_whole_lease() -> None:
    """Clocks of two machines are not compared, so the age of the record is unknown."""
    server, newcomer = Server(), _candidate("two")
    _candidate("one").attempt(server, 0)
    assert not newcomer.attempt(server, 1000)
    assert newcomer.election.free_at() == 1000 + LEASE_DURATION
    assert not newcomer.attempt(server, 1014.9)
    assert newcomer.attempt(server, 1015)


def test_deleted_lease_is_not_taken_before_expiry() -> None:
    server, leader, follower = Server(), _candidate("one"), _candidate("two")
    leader.attempt(server, 0)
    follower.attempt(server, 1)
    server.lease = None
    assert not follower.attempt(server, 2)
    assert leader.attempt(server, 2)
    server.lease = None
    assert follower.attempt(server, 1 + LEASE_DURATION)
    assert not leader.leads(1 + LEASE_DURATION)


@pytest.mark.parametrize("followed", [False, True])
def test_suspended_leader_returns_unless_followed(*, followed: bool) -> None:
    server, leader, follower = Server(), _candidate("one"), _candidate("two")
    leader.attempt(server, 0)
    follower.attempt(server, 0)
    assert not leader.leads(500)
    assert follower.attempt(server, 500) if followed else True
    assert leader.attempt(server, 501) != followed
    assert server.lease is not None
    assert server.lease["spec"]["leaseTransitions"] == int(followed)


def test_lost_response_costs_one_attempt() -> None:
    """The write was stored, and the next attempt finds the own record."""
    server, leader = Server(), _candidate("one")
    leader.begin(0)
    leader.step(server, 0)
    leader.step(server, 0)
    assert not leader.leads(0)
    assert leader.attempt(server, 2)


@pytest.mark.parametrize(
    ("lease", "transitions"),
    [
        (None, 0),
        ({"spec": {"holderIdentity": "other"}}, 1),
        ({"spec": {"holderIdentity": "other", "leaseTransitions": 6}}, 7),
        ({"spec": {"holderIdentity": "", "leaseTransitions": 6}}, 7),
        ({"spec": {"holderIdentity": "me", "leaseTransitions": 6, "acquireTime": "before"}}, 6),
        ({"spec": {}}, 1),
    ],
)
def test_record_counts_transitions_and_keeps_acquire_time(lease: Json | None, transitions: int) -> None:
    spec = Election("me").record(lease, datetime(2026, 1, 1, 2, tzinfo=timezone(timedelta(hours=2))))
    acquired = "before" if transitions == 6 else "2026-01-01T00:00:00.000000Z"
    assert spec == {
        "holderIdentity": "me",
        "acquireTime": acquired,
        "renewTime": "2026-01-01T00:00:00.000000Z",
        "leaseDurationSeconds": 15,
        "leaseTransitions": transitions,
    }


def test_released_record_keeps_other_fields() -> None:
    lease: dict[str, Any] = {"spec": {"holderIdentity": "me", "leaseTransitions": 3, "strategy": "other"}}
    before = copy.deepcopy(lease)
    spec = Election("me").record(lease, START, release=True)
    assert (spec["holderIdentity"], spec["leaseTransitions"], spec["strategy"]) == ("", 3, "other")
    assert spec["leaseDurationSeconds"] > 0  # the API server rejects 0
    assert lease == before


def _candidate(name: str, rate: float = 1.0) -> Candidate:
    return Candidate(Election(name), rate)
