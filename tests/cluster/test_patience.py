"""Test slow behaviour: leader election, a conflicting writer, a minute without writes."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import pytest

from controller.objects import resources
from tests.localcluster.pages import page
from tests.support.caches import create_pods, running_caches
from tests.support.conflicts import conflict_reported, conflicting_writer
from tests.support.faults import complete, events_of, leads, one, reconciled, settled, writes
from tests.support.kube import Kube, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cluster.conftest import Running

pytestmark = pytest.mark.slow

ANSWERED = "caches report another state"  # in the controller's log


def test_second_controller_takes_over_on_sigterm(own: Running) -> None:
    port = own.system.start_controller("controller-2")
    assert page(port, "/metrics")
    assert not leads(port)
    began = time.monotonic()
    own.system.processes.kill("controller", signal.SIGTERM)
    until(lambda: leads(port), why="the second leads")
    assert time.monotonic() - began < 10.0, "a lease that is not released expires after 13 s at least"
    until(lambda: not own.system.processes.alive("controller"), why="the first is gone")
    assert events_of(own, "controller")[-1] == "stopped"
    own.kube.mirror(one("after"))
    until(lambda: complete(own.kube, "after"), why="the second works")


def test_killed_leader_is_replaced_within_its_lease(own: Running) -> None:
    port = own.system.start_controller("controller-2")
    own.system.processes.kill("controller", signal.SIGKILL)
    # Seconds: 15 for the lease, 2 between two reads of it, and a reserve for a busy machine.
    until(lambda: leads(port), why="the second leads", seconds=25)


def test_conflicting_writer_is_repaired_rarely(own: Running) -> None:
    """Another client changes the Service's port after each repair."""
    kube, child = own.kube, "registry-mirror-contested"
    kube.mirror(one("contested"))
    until(lambda: complete(kube, "contested"), why="complete")

    def change_port(client: Kube, _: int) -> None:
        if client.get(resources.SERVICE, child)["spec"]["ports"][0]["port"] == 443:
            port = {"op": "replace", "path": "/spec/ports/0/port", "value": 8443}
            client.json_patch(resources.SERVICE, child, port)

    with conflicting_writer(own, change_port, interval=0.0):
        until(lambda: conflict_reported(kube, "contested"), why="an Event reports the conflict")
        kube.mirror(one("bystander"))
        until(lambda: complete(kube, "bystander"), why="another mirror is reconciled meanwhile")
    repaired = lambda: kube.get(resources.SERVICE, child)["spec"]["ports"][0]["port"] == 443  # noqa: E731
    until(repaired, why="repaired once the client has stopped", seconds=45)
    repairs = [each for each in kube.events("contested") if each[1] == "Repaired"]
    assert len(repairs) <= 8, "five at once, then one each 30 s"


def test_50_mirrors_at_rest_cause_no_writes(fresh: Callable[..., Running]) -> None:
    """Neither does a restart. The API server counts the requests; there is no other controller in the cluster.

    One mirror has a running cache, whose status the controller reads meanwhile.
    """
    running = fresh(controllers=False)
    running.system.start()
    names = [f"m{number}" for number in range(50)]
    for name in names:
        running.kube.mirror(one(name))
    for name in names:
        until(lambda name=name: complete(running.kube, name), why=f"{name} is complete", seconds=60)  # type: ignore[misc]
    running.kube.mirror(one("asked").of("127.0.0.1:1").known_as("asked.example.com").replicated(1))
    create_pods(running.kube, "asked")
    with running_caches(running, "asked"):
        running.kube.until_condition("asked", "UpstreamReachable", "False", "ConnectionRefused")
        settled(running)
        before = writes(running.kube)
        time.sleep(60)  # the quiet minute
        assert writes(running.kube) == before
        running.system.processes.stop(["controller"])
        port = running.system.start_controller()
        until(lambda: reconciled(port) >= len(names) + 1, why="every mirror was reconciled again")
        until(lambda: events_of(running, "controller").count(ANSWERED) > 1, why="the cache was asked again")
        settled(running)
        assert writes(running.kube) == before
