"""At most one candidate leads at any moment, whatever requests are late or lost and however clocks differ."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from controller.objects.lease import LEASE_DURATION, RENEW_DEADLINE, RETRY_PERIOD, Election

if TYPE_CHECKING:
    from common.types import Json

START = datetime(2026, 1, 1, tzinfo=UTC)
# Seconds of one's own clock in a second of true time. The constants leave room for this much.
RATES = st.sampled_from([0.975, 1.0, 1.025])


@dataclass
class Server:
    """The lease as the API server holds it: a write on an older version is refused."""

    lease: Json | None = None
    version: int = 0

    def read(self) -> tuple[Json | None, int]:
        """The lease, and the version that a write has to name."""
        return copy.deepcopy(self.lease), self.version

    def write(self, spec: Json, version: int) -> bool:
        """Returns whether the write was stored."""
        if version != self.version:
            return False
        self.lease, self.version = {"spec": copy.deepcopy(spec)}, version + 1
        return True


@dataclass
class Candidate:
    """One process: its clock, and how far it has come with one try. The steps are those of `Leadership`."""

    election: Election
    rate: float = 1.0
    offset: float = 0.0
    started: float = 0.0
    read: tuple[Json | None, int] | None = None
    answer: bool | None = None
    steps: list[str] = field(default_factory=list)

    def clock(self, now: float) -> float:
        """What its own clock shows at the true time `now`."""
        return self.offset + self.rate * now

    def leads(self, now: float) -> bool:
        """Whether it may write."""
        return self.election.leads(self.clock(now))

    def begin(self, now: float) -> None:
        """Begins a try."""
        self.started, self.read, self.answer = self.clock(now), None, None
        self.steps = ["look", "write", "hear"]

    def step(self, server: Server, now: float) -> None:
        """The next step of the try under way; each may come any time after the last."""
        name = self.steps.pop(0)
        if name == "look":
            self.read = server.read()
            self.election.observe(self.read[0], self.clock(now))
            if self.clock(now) < self.election.free_at():
                self.election.lost()
                self.steps = []
        elif name == "write":
            assert self.read is not None
            wall = START + timedelta(seconds=self.clock(now))
            self.answer = server.write(self.election.record(self.read[0], wall), self.read[1])
        elif self.answer:
            self.election.renewed(self.started)

    def attempt(self, server: Server, now: float) -> bool:
        """A whole try in no time."""
        self.begin(now)
        while self.steps:
            self.step(server, now)
        return self.leads(now)

    def release(self, server: Server, now: float) -> None:
        """Gives the lease up."""
        if not self.leads(now):
            return
        self.election.lost()
        lease, version = server.read()
        if lease is not None and lease["spec"]["holderIdentity"] == self.election.identity:
            wall = START + timedelta(seconds=self.clock(now))
            server.write(self.election.record(lease, wall, release=True), version)


class TwoCandidates(RuleBasedStateMachine):
    """Two processes and one lease; every request takes as long as it likes, and an answer may never arrive."""

    def __init__(self) -> None:
        super().__init__()
        self.server, self.now = Server(), 0.0
        self.all = [Candidate(Election("one")), Candidate(Election("two"))]

    @initialize(rates=st.tuples(RATES, RATES), offsets=st.tuples(st.floats(0, 1e6), st.floats(0, 1e6)))
    def differ(self, rates: tuple[float, float], offsets: tuple[float, float]) -> None:
        """Clocks show any time and run up to 5 % apart."""
        for candidate, rate, offset in zip(self.all, rates, offsets, strict=True):
            candidate.rate, candidate.offset = rate, offset

    @rule(seconds=st.one_of(st.sampled_from([RETRY_PERIOD, RENEW_DEADLINE, LEASE_DURATION]), st.floats(0, 20)))
    def wait(self, seconds: float) -> None:
        """Time goes on, in steps in which a leader's time may run out."""
        for _ in range(20):
            self.now += seconds / 20
            self.at_most_one_leads()

    @rule(which=st.integers(0, 1))
    def begin(self, which: int) -> None:
        """A try begins; one under way is forgotten, as a request that timed out."""
        self.all[which].begin(self.now)

    @rule(which=st.integers(0, 1))
    def step(self, which: int) -> None:
        """The next step of a try."""
        if self.all[which].steps:
            self.all[which].step(self.server, self.now)

    @rule(which=st.integers(0, 1))
    def attempt(self, which: int) -> None:
        """A whole try at once, so that leaders come about often."""
        self.all[which].attempt(self.server, self.now)

    @rule(which=st.integers(0, 1))
    def release(self, which: int) -> None:
        """A process ends in order."""
        self.all[which].release(self.server, self.now)
        self.all[which].steps = []

    @precondition(lambda self: self.server.lease is not None)
    @rule()
    def touch(self) -> None:
        """Somebody labels the lease: another version, the same record."""
        self.server.version += 1

    @invariant()
    def at_most_one_leads(self) -> None:
        """The property."""
        assert sum(candidate.leads(self.now) for candidate in self.all) <= 1


TestTwoCandidates = TwoCandidates.TestCase
TestTwoCandidates.settings = settings(
    max_examples=200, stateful_step_count=50, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def test_the_first_candidate_leads_at_once() -> None:
    assert _candidate("one").attempt(Server(), 100.0)


def test_a_leader_stops_by_itself_when_it_cannot_renew() -> None:
    leader = _candidate("one")
    leader.attempt(Server(), 0)
    assert leader.leads(RENEW_DEADLINE - 0.001)
    assert not leader.leads(RENEW_DEADLINE)
    assert leader.election.held_until() == RENEW_DEADLINE


def test_a_renewal_counts_from_when_it_was_begun_not_from_its_answer() -> None:
    server, leader = Server(), _candidate("one")
    leader.begin(0)
    for moment in (1, 2, 9):
        leader.step(server, moment)
    assert leader.leads(9.9)
    assert not leader.leads(10)


@given(st.floats(0, RETRY_PERIOD), RATES, RATES)
def test_a_killed_leader_is_followed_within_its_lease(phase: float, rate: float, other_rate: float) -> None:
    """The follower looks every RETRY_PERIOD, and once more when the lease runs out."""
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


def test_a_lease_that_is_given_up_is_taken_at_once() -> None:
    server, leader, follower = Server(), _candidate("one"), _candidate("two")
    leader.attempt(server, 0)
    assert not follower.attempt(server, 1)
    leader.release(server, 1)
    assert not leader.leads(1)
    assert follower.attempt(server, 1)


def test_a_candidate_that_comes_later_waits_a_whole_lease_even_for_a_holder_long_dead() -> None:
    """It cannot know for how long the record has stood: clocks of two machines are never compared."""
    server, newcomer = Server(), _candidate("two")
    _candidate("one").attempt(server, 0)
    assert not newcomer.attempt(server, 1000)
    assert newcomer.election.free_at() == 1000 + LEASE_DURATION
    assert not newcomer.attempt(server, 1014.9)
    assert newcomer.attempt(server, 1015)


def test_a_lease_that_somebody_deletes_is_not_taken_from_the_holder_who_has_not_been_told() -> None:
    server, leader, follower = Server(), _candidate("one"), _candidate("two")
    leader.attempt(server, 0)
    follower.attempt(server, 1)
    server.lease = None
    assert not follower.attempt(server, 2)
    assert leader.attempt(server, 2)
    server.lease = None
    assert follower.attempt(server, 1 + LEASE_DURATION)
    assert not leader.leads(1 + LEASE_DURATION)


def test_a_holder_that_slept_through_its_lease_takes_it_again_if_nobody_else_did() -> None:
    server, leader = Server(), _candidate("one")
    leader.attempt(server, 0)
    assert not leader.leads(500)
    assert leader.attempt(server, 500)
    assert server.lease is not None
    assert server.lease["spec"]["leaseTransitions"] == 0


def test_a_holder_that_slept_while_another_took_over_follows() -> None:
    server, leader, follower = Server(), _candidate("one"), _candidate("two")
    leader.attempt(server, 0)
    follower.attempt(server, 0)
    assert follower.attempt(server, 500)
    assert not leader.attempt(server, 501)


def test_an_answer_that_was_lost_costs_no_more_than_a_look() -> None:
    """The write was stored and its answer never came: the next look finds the record to be one's own."""
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
def test_the_record_counts_changes_of_hands_and_keeps_when_it_was_acquired(
    lease: Json | None, transitions: int
) -> None:
    spec = Election("me").record(lease, datetime(2026, 1, 1, 2, tzinfo=timezone(timedelta(hours=2))))
    acquired = "before" if transitions == 6 else "2026-01-01T00:00:00.000000Z"
    assert spec == {
        "holderIdentity": "me",
        "acquireTime": acquired,
        "renewTime": "2026-01-01T00:00:00.000000Z",
        "leaseDurationSeconds": 15,
        "leaseTransitions": transitions,
    }


def test_a_record_that_is_given_up_names_nobody_and_keeps_what_others_wrote() -> None:
    lease: dict[str, Any] = {"spec": {"holderIdentity": "me", "leaseTransitions": 3, "strategy": "theirs"}}
    before = copy.deepcopy(lease)
    spec = Election("me").record(lease, START, release=True)
    assert (spec["holderIdentity"], spec["leaseTransitions"], spec["strategy"]) == ("", 3, "theirs")
    assert spec["leaseDurationSeconds"] > 0  # 0 would be refused by the API server
    assert lease == before


def _candidate(name: str, rate: float = 1.0) -> Candidate:
    return Candidate(Election(name), rate)
