"""What takes its time: standing by, following a dead leader, a quarrel, a quiet minute."""

from __future__ import annotations

import signal
import threading
import time
from typing import TYPE_CHECKING

from controller.objects import resources
from tests.localcluster.pages import page
from tests.support.faults import complete, events_of, leads, one, reconciled, settled, writes
from tests.support.kube import Kube, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cluster.conftest import Running


def test_a_second_controller_stands_by_and_takes_over_at_once_when_the_first_is_told_to_stop(own: Running) -> None:
    port = own.system.start_controller("controller-2")
    assert "registrymirror_leader_election_master_status 0.0" in (page(port, "/metrics") or "")
    began = time.monotonic()
    own.system.processes.kill("controller", signal.SIGTERM)
    until(
        lambda: leads(port),
        why="the second leads",
    )
    assert time.monotonic() - began < 10.0, "sooner than a lease that is not given up, which ends after 13 s at least"
    until(lambda: not own.system.processes.alive("controller"), why="the first is gone")
    assert events_of(own, "controller")[-1] == "stopped"
    own.kube.mirror(one("after"))
    until(lambda: complete(own.kube, "after"), why="the second works")


def test_a_killed_leader_is_followed_within_its_lease(own: Running) -> None:
    port = own.system.start_controller("controller-2")
    own.system.processes.kill("controller", signal.SIGKILL)
    # 15 s of lease, a look every 2 s, and what a machine that stalls takes besides.
    until(lambda: leads(port), why="the second leads", seconds=25)


def test_against_somebody_who_keeps_changing_a_field_it_stays_calm_and_wins_in_the_end(own: Running) -> None:
    """Another client sets the Service's port again each time it was put right."""
    kube, child = own.kube, "registry-mirror-contested"
    kube.mirror(one("contested"))
    until(lambda: complete(kube, "contested"), why="complete")
    stop = threading.Event()

    def quarrel() -> None:
        other = Kube(own.cluster)
        while not stop.is_set():
            if other.get(resources.SERVICE, child)["spec"]["ports"][0]["port"] == 443:
                other.json_patch(
                    resources.SERVICE, child, {"op": "replace", "path": "/spec/ports/0/port", "value": 8443}
                )
        other.close()

    client = threading.Thread(target=quarrel)
    client.start()
    until(
        lambda: "ConflictingWriter" in {each[1] for each in kube.events("contested")},
        why="an Event tells of the quarrel",
    )
    kube.mirror(one("bystander"))
    until(lambda: complete(kube, "bystander"), why="other mirrors are served meanwhile")
    stop.set()
    client.join()
    right = lambda: kube.get(resources.SERVICE, child)["spec"]["ports"][0]["port"] == 443  # noqa: E731
    until(right, why="put right once nobody quarrels", seconds=45)
    repairs = [each for each in kube.events("contested") if each[1] == "Repaired"]
    assert len(repairs) <= 8, "five at once, then one in 30 s"


def test_in_a_quiet_minute_with_50_mirrors_nothing_is_written_nor_after_a_restart(
    fresh: Callable[..., Running],
) -> None:
    """By the API server's own count of requests, with no other controller in the cluster."""
    running = fresh(controllers=False)
    running.system.start()
    names = [f"m{number}" for number in range(50)]
    for name in names:
        running.kube.mirror(one(name))
    for name in names:
        until(lambda name=name: complete(running.kube, name), why=f"{name} is complete", seconds=60)  # type: ignore[misc]
    settled(running)
    before = writes(running.kube)
    time.sleep(60)  # the quiet minute
    assert writes(running.kube) == before
    running.system.processes.stop(["controller"])
    port = running.system.start_controller()
    until(lambda: reconciled(port) >= len(names), why="every mirror was looked at again")
    assert writes(running.kube) == before
