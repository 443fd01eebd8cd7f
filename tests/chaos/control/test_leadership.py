"""Leaders that are told to go, killed, and stopped: another follows in time, and there are never two who write."""

from __future__ import annotations

import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from controller.objects.lease import LEASE_DURATION
from tests.chaos.control.conftest import launched, until_served
from tests.localcluster.pages import page
from tests.support.audit import CREDENTIAL, Asked, requests
from tests.support.faults import complete, events_of, leads, one
from tests.support.gate import CONFIGURATION, Gate
from tests.support.kube import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.cluster.conftest import Running
    from tests.support.chaos import Chaos

# Of mirrors, so that the leader is in the midst of making them when the fault comes: making one takes it some 20 ms.
MANY = 40
# Seconds between two looks at a lease that was not given up, and for the look itself.
LOOK = 3.0
FIRST, SECOND = "controller", "controller-2"
SOON = 1.0  # seconds for handing over: less than half of them for what is in hand
AT_ONCE = 5.0  # seconds: who is not handed the lease waits 13 at least
TRIES = 3


@pytest.fixture(scope="module")
def running(ground: Callable[..., Running]) -> Running:
    """A cluster whose controllers each test starts."""
    running = ground()
    running.system.start()
    until_served(running)
    running.system.processes.stop([FIRST])
    return running


class Two:
    """A leader at work on many mirrors, and one that stands by."""

    def __init__(self, running: Running, batch: str) -> None:
        self.running = running
        self.first = launched(running, FIRST)
        until(lambda: leads(running.system.metrics_port), why="the first leads")
        before = stood_by(running)
        self.second = launched(running, SECOND)
        until(lambda: stood_by(running) > before, why="the second stands by")
        self.names: list[str] = []
        self.more(batch)

    def more(self, batch: str) -> None:
        """Makes so many mirrors."""
        names = [f"{batch}{number}" for number in range(MANY)]
        for name in names:
            self.running.kube.mirror(one(name))
        self.names += names

    def taken(self) -> list[Asked]:
        """The second's writes of the lease."""
        return [each for each in self.of(self.second) if each.resource == "leases" and each.accepted]

    def of(self, whose: str) -> list[Asked]:
        """What one of them asked."""
        return list(requests(self.running.cluster, credential=whose))

    def second_leads(self, seconds: float) -> float:
        """When the second took the lease."""
        return until(self.taken, why="the second has the lease", seconds=seconds)[0].at

    def all_complete(self) -> None:
        """Nothing was lost of what was in work."""
        for name in self.names:
            until(lambda name=name: complete(self.running.kube, name), why=f"{name} is complete", seconds=60)  # type: ignore[misc]

    def incomplete(self) -> list[str]:
        """Mirrors that lack something."""
        return [name for name in self.names if not complete(self.running.kube, name)]

    def end(self) -> None:
        """Leaves none of them."""
        self.running.system.processes.stop([FIRST, SECOND])


@contextmanager
def _held(running: Running, credential: str) -> Iterator[Gate]:
    """Meanwhile the writes of one of them wait, all but those of its lease and its Events."""
    with Gate(running.cluster) as gate:
        gate.hold()
        extra = "request.userInfo.extra"
        whose = f"has({extra}) && '{CREDENTIAL}' in {extra} && '{credential}' in {extra}['{CREDENTIAL}']"
        everything = {"apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"]}
        others = "!(request.resource.resource in ['leases', 'events'])"
        gate.stand_before(running.kube, "gate", everything, whose, others)
        try:
            yield gate
        finally:
            running.kube.delete(CONFIGURATION, "gate")


def stood_by(running: Running) -> int:
    """How often the second has said that it stands by."""
    try:
        return events_of(running, SECOND).count("waiting for leader election")
    except FileNotFoundError:  # it has never been started
        return 0


def test_a_leader_that_is_told_to_stop_hands_over_within_a_second(running: Running, chaos: Chaos) -> None:
    """In the midst of its work, which the other takes up. A machine that stalls may be slower, and not three times."""
    took: list[float] = []
    while not any(each < SOON for each in took):
        assert len(took) < TRIES, took
        took.append(_handed_over(running, f"g{len(took)}-"))
        assert took[-1] < AT_ONCE
    chaos.row(
        "leader told to stop (SIGTERM), at work",
        lost=f"0 of {MANY * len(took)} mirrors",
        recovered=min(took),
        note="s until the other has the lease",
    )


def _handed_over(running: Running, batch: str) -> float:
    """Seconds from the leader's SIGTERM until the other has the lease."""
    two = Two(running, batch)
    began = time.time()
    running.system.processes.kill(FIRST, signal.SIGTERM)
    taken = two.second_leads(seconds=20)
    two.all_complete()
    until(lambda: not running.system.processes.alive(FIRST), why="the first is gone")
    late = [each for each in two.of(two.first) if each.at > taken and each.accepted and each.resource != "events"]
    assert late == [], "what was done may still be told, but nothing is done"
    assert events_of(running, FIRST)[-1] == "stopped"
    two.end()
    return taken - began


def test_a_leader_that_is_killed_is_followed_within_its_lease(running: Running, chaos: Chaos) -> None:
    two = Two(running, "k")
    began = time.time()
    running.system.processes.kill(FIRST, signal.SIGKILL)
    taken = two.second_leads(seconds=LEASE_DURATION + 2 * LOOK)
    two.all_complete()
    two.end()
    assert taken - began < LEASE_DURATION + LOOK
    chaos.row(
        "leader killed (SIGKILL), at work",
        lost=f"0 of {MANY} mirrors",
        recovered=taken - began,
        note="s until the other has the lease",
    )


def test_a_leader_that_was_stopped_beyond_its_lease_writes_nothing_when_it_is_woken(
    running: Running, chaos: Chaos
) -> None:
    """By the API server's audit log: writes that were under way when it was stopped are the last that are accepted.

    What the second writes is held until then, so that there is much that the first would have to write.
    """
    two = Two(running, "s")
    stopped = time.time()
    running.system.processes.kill(FIRST, signal.SIGSTOP)
    before = [each for each in two.of(two.first) if each.accepted]
    with _held(running, two.second) as gate:
        taken = two.second_leads(seconds=LEASE_DURATION + 2 * LOOK)
        two.more("t")  # of which the first hears when it is woken
        until(lambda: gate.held, why="the second wants to write")
        missing = two.incomplete()
        woken = time.time()
        running.system.processes.kill(FIRST, signal.SIGCONT)
        until(lambda: "lost leader election" in events_of(running, FIRST), why="the first says that it leads no more")
        until(lambda: page(running.system.metrics_port, "/readyz"), why="the first has seen the cluster again")
        assert len(missing) >= MANY, "much was left to do"
        assert two.incomplete() == missing, "and nobody has done it"
    two.all_complete()
    # It goes on standing by: work that comes now is the second's.
    running.kube.mirror(one("after-waking"))
    until(lambda: complete(running.kube, "after-waking"), why="the second works")
    asked = two.of(two.first)
    assert not leads(running.system.metrics_port)
    assert len(before) > MANY / 4, "it was stopped in the midst of its work"
    assert [each for each in asked if each.at >= woken and each.accepted] == []
    assert any(each.at >= woken for each in asked), "it was awake"
    assert max(each.at for each in asked if each.accepted) < taken, "nor was there any between the two"
    two.end()
    chaos.row(
        "leader stopped beyond its lease (SIGSTOP), then woken",
        lost=f"0 of {2 * MANY} mirrors",
        recovered=taken - stopped,
        note="s until the other has the lease; writes accepted of the woken one: 0",
    )
