"""Test leaders that are stopped, killed and suspended: another follows in time."""

from __future__ import annotations

import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from controller.objects.lease import LEASE_DURATION
from controller.workqueue.workers import WORKERS
from tests.chaos.control.conftest import launched, until_served
from tests.localcluster.pages import page
from tests.support.audit import CREDENTIAL, Asked, requests
from tests.support.faults import complete, events_of, leads, normal_form, one
from tests.support.holding_webhook import CONFIGURATION, HoldingWebhook
from tests.support.kube import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.cluster.conftest import Running
    from tests.support.chaos import Chaos

# Mirrors, so that the leader is at work when the fault comes; creating the objects of one takes some 20 ms.
MANY = 40
# Seconds between two reads of a lease that was not released, and for the read itself.
READ_INTERVAL = 3.0
FIRST, SECOND = "controller", "controller-2"
HANDOVER = 1.0  # seconds, of which reconciles under way get less than half
LONGEST_HANDOVER = 5.0  # seconds on a busy machine; without a release it takes 13 at least
TRIES = 3


@pytest.fixture(scope="module")
def running(ground: Callable[..., Running]) -> Running:
    """Return a cluster; each test starts its controllers."""
    running = ground()
    running.system.start()
    until_served(running)
    running.system.processes.stop([FIRST])
    return running


class Two:
    """Run a leader at work on many mirrors, and a candidate."""

    def __init__(self, running: Running, batch: str) -> None:
        self.running = running
        self.first = launched(running, FIRST)
        until(lambda: leads(running.system.metrics_port), why="the first leads")
        before = waits_logged(running)
        self.second = launched(running, SECOND)
        until(lambda: waits_logged(running) > before, why="the second waits for the lease")
        self.names: list[str] = []
        self.more(batch)

    def more(self, batch: str) -> None:
        """Create MANY mirrors."""
        names = [f"{batch}{number}" for number in range(MANY)]
        for name in names:
            self.running.kube.mirror(one(name))
        self.names += names

    def taken(self) -> list[Asked]:
        """Return the second's writes of the lease."""
        return [each for each in self.of(self.second) if each.resource == "leases" and each.accepted]

    def of(self, user: str) -> list[Asked]:
        """Return the requests of one controller."""
        return list(requests(self.running.cluster, credential=user))

    def second_leads(self, seconds: float) -> float:
        """Return when the second took the lease."""
        return until(self.taken, why="the second has the lease", seconds=seconds)[0].at

    def all_complete(self) -> None:
        """Wait until all mirrors are complete."""
        for name in self.names:
            until(lambda name=name: complete(self.running.kube, name), why=f"{name} is complete", seconds=60)  # type: ignore[misc]

    def incomplete(self) -> list[str]:
        """Return the incomplete mirrors."""
        return [name for name in self.names if not complete(self.running.kube, name)]

    def end(self) -> None:
        """Stop both controllers."""
        self.running.system.processes.stop([FIRST, SECOND])


@contextmanager
def _held(running: Running, credential: str) -> Iterator[HoldingWebhook]:
    """Hold the writes of one controller, except those of leases and Events."""
    with HoldingWebhook(running.cluster) as webhook:
        webhook.hold()
        extra = "request.userInfo.extra"
        is_user = f"has({extra}) && '{CREDENTIAL}' in {extra} && '{credential}' in {extra}['{CREDENTIAL}']"
        everything = {"apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"]}
        others = "!(request.resource.resource in ['leases', 'events'])"
        webhook.register(running.kube, "holding", everything, is_user, others)
        try:
            yield webhook
        finally:
            running.kube.delete(CONFIGURATION, "holding")


def waits_logged(running: Running) -> int:
    """Return how often the second has logged that it waits for the lease."""
    try:
        return events_of(running, SECOND).count("waiting for leader election")
    except FileNotFoundError:  # never started
        return 0


def test_stopped_leader_hands_over_within_a_second(running: Running, chaos: Chaos) -> None:
    """The other continues its work. A busy machine may be slower, but not three times in a row."""
    took: list[float] = []
    while not any(each < HANDOVER for each in took):
        assert len(took) < TRIES, took
        took.append(_handed_over(running, f"g{len(took)}-"))
        assert took[-1] < LONGEST_HANDOVER
    chaos.row(
        "leader told to stop (SIGTERM), at work",
        lost=f"0 of {MANY * len(took)} mirrors",
        recovered=min(took),
        note="s until the other has the lease",
    )


def _handed_over(running: Running, batch: str) -> float:
    """Return the seconds from the leader's SIGTERM until the other has the lease."""
    two = Two(running, batch)
    began = time.time()
    running.system.processes.kill(FIRST, signal.SIGTERM)
    taken = two.second_leads(seconds=20)
    two.all_complete()
    until(lambda: not running.system.processes.alive(FIRST), why="the first is gone")
    late = [each for each in two.of(two.first) if each.at > taken and each.accepted and each.resource != "events"]
    assert late == [], "only Events may follow"
    assert events_of(running, FIRST)[-1] == "stopped"
    two.end()
    return taken - began


def test_killed_leader_is_replaced_within_its_lease(running: Running, chaos: Chaos) -> None:
    two = Two(running, "k")
    began = time.time()
    running.system.processes.kill(FIRST, signal.SIGKILL)
    taken = two.second_leads(seconds=LEASE_DURATION + 2 * READ_INTERVAL)
    two.all_complete()
    two.end()
    assert taken - began < LEASE_DURATION + READ_INTERVAL
    chaos.row(
        "leader killed (SIGKILL), at work",
        lost=f"0 of {MANY} mirrors",
        recovered=taken - began,
        note="s until the other has the lease",
    )


def test_woken_leader_changes_nothing_of_the_next(running: Running, chaos: Chaos) -> None:
    """Suspend the leader for longer than its lease, and wake it. The audit log shows its writes.

    A request that was under way may still be sent: at most one per worker. The writes of the second are held until the
    first is awake, so that the first has much to write.
    """
    two = Two(running, "s")
    suspended = time.time()
    running.system.processes.kill(FIRST, signal.SIGSTOP)
    before = [each for each in two.of(two.first) if each.accepted]
    with _held(running, two.second) as webhook:
        taken = two.second_leads(seconds=LEASE_DURATION + 2 * READ_INTERVAL)
        two.more("t")  # the first sees them only once it is awake
        until(lambda: webhook.held, why="the second wants to write")
        missing = two.incomplete()
        woken = time.time()
        running.system.processes.kill(FIRST, signal.SIGCONT)
        until(lambda: "lost leader election" in events_of(running, FIRST), why="the first has lost the election")
        until(lambda: page(running.system.metrics_port, "/readyz"), why="the first has synced again")
        assert len(missing) >= MANY, "much was left to do"
        completed = len(missing) - len(two.incomplete())
    two.all_complete()
    # The first stays a candidate: the second reconciles new mirrors.
    running.kube.mirror(one("after-waking"))
    until(lambda: complete(running.kube, "after-waking"), why="the second works")
    requests_of_first = two.of(two.first)
    late = [each for each in requests_of_first if each.at >= taken and each.accepted]
    assert not leads(running.system.metrics_port)
    assert len(before) > MANY / 4, "it was suspended at work"
    assert completed <= len(late) <= WORKERS, late
    assert any(each.at >= woken for each in requests_of_first), "it was awake"
    expected = normal_form(running.kube, "undisturbed")
    for name in two.names:
        assert normal_form(running.kube, name) == expected, name
    two.end()
    chaos.row(
        "leader suspended beyond its lease (SIGSTOP), then woken",
        lost=f"0 of {2 * MANY} mirrors",
        recovered=taken - suspended,
        note=f"s until the other has the lease; late writes of the woken one: {len(late)}",
    )
