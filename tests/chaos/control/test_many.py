"""Test many mirrors: applies while the webhook dies, and memory after many deletions."""

from __future__ import annotations

import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from controller.objects import resources
from tests.chaos.control.conftest import until_served
from tests.localcluster.processes import resident_bytes
from tests.support.faults import CHILDREN, complete, one
from tests.support.kube import Kube, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cluster.conftest import Running
    from tests.support.chaos import Chaos

ROUNDS = 5
MIB = 2**20
# Mirrors before a release (CHAOS_MINUTES=15) and in the usual run, which takes ten seconds a round.
LONG, USUAL = 500, 80
LONG_MINUTES = 15.0
# Bytes from the second round to the last; the first fills pools that are kept. Without a leak the open connections
# (0.35 MiB each) move it by some 10 MiB. Leaking the JSON of each mirror (20 KB) takes 30 MiB with 500 mirrors, and is
# found only then; with 80 mirrors a leak of 50 KB per mirror is found.
GROWTH = 12 * MIB


@pytest.fixture(scope="module")
def running(ground: Callable[..., Running]) -> Running:
    """Return a cluster without Kubernetes' controllers; the test itself deletes the children of deleted mirrors."""
    running = ground(controllers=False)
    running.system.start()
    until_served(running)
    return running


def test_killed_webhook_during_applies_stores_or_refuses(running: Running, chaos: Chaos, minutes: float) -> None:
    """Four clients create mirrors and repeat refused ones; a stored mirror would refuse the repetition."""
    names = [f"w{number}" for number in range(LONG if minutes >= LONG_MINUTES else 120)]
    refused: list[str] = []
    over = threading.Event()

    def apply(batch: list[str]) -> None:
        client = Kube(running.cluster)
        for name in batch:
            while not (response := client.http.post(resources.MIRROR.path(None), json=one(name).raw())).is_success:
                refused.append(response.text)
                over.wait(0.05)  # before the next attempt
        client.close()

    with ThreadPoolExecutor(5) as pool:
        killing = pool.submit(_kill, running, over)
        try:
            for each in [pool.submit(apply, names[number::4]) for number in range(4)]:
                each.result()
        finally:
            over.set()
        kills = killing.result()
    assert kills > 0
    assert refused, "some requests came while the webhook was dead"
    assert all("failed calling webhook" in text for text in refused), set(refused)
    for name in names:
        spec = running.kube.get(resources.MIRROR, name)["spec"]
        assert (spec["replicas"], spec["ttl"]) == (2, "168h"), "its defaults are there"
    for name in names:
        until(lambda name=name: complete(running.kube, name), why=f"{name} is complete", seconds=300)  # type: ignore[misc]
    _delete_all(running.kube)
    note = f"webhook killed {kills} times; all stored whole, {len(refused)} refused with the reason first"
    chaos.row(f"{len(names)} applies while the webhook is killed", lost=f"0 of {len(names)} mirrors", note=note)


def _kill(running: Running, over: threading.Event) -> int:
    """Kill and restart the webhook until it is over. Return how often."""
    kills = 0
    while not over.wait(0.5):
        running.system.processes.kill("webhook", signal.SIGKILL)
        until(lambda: not running.system.processes.alive("webhook"), why="it is dead")
        kills += 1
        over.wait(0.2)  # seconds without a webhook
        running.system.start_webhook()
    return kills


def test_deleted_mirrors_leave_no_memory(running: Running, chaos: Chaos, minutes: float) -> None:
    kube, number = running.kube, LONG if minutes >= LONG_MINUTES else USUAL
    resident: list[int] = []
    for _ in range(ROUNDS):
        names = [f"m{each}" for each in range(number)]
        for name in names:
            kube.mirror(one(name))
        for name in names:
            until(lambda name=name: complete(kube, name), why=f"{name} is complete", seconds=300)  # type: ignore[misc]
        _delete_all(kube)
        resident.append(resident_bytes(running.system.processes.record("controller").pid))
    assert resident[-1] - resident[1] < GROWTH, [each // MIB for each in resident]
    figures = ", ".join(f"{each / MIB:.0f}" for each in resident)
    chaos.row(
        f"{number} mirrors made and deleted {ROUNDS} times",
        lost=f"0 of {ROUNDS * number} mirrors",
        note=f"controller's memory after each, MiB: {figures}",
    )


def _delete_all(kube: Kube) -> None:
    """Delete all mirrors and their children, as the garbage collector would."""
    kube.http.delete(resources.MIRROR.path(None), timeout=300).raise_for_status()
    until(lambda: not kube.every(resources.MIRROR), why="all mirrors are gone", seconds=300)
    for kind in resources.CHILDREN:
        path, query = kind.path("registry-mirror"), {"labelSelector": "app=docker-registry"}
        if kind is resources.SERVICE:  # not every API server deletes a collection of Services
            for each in kube.every(kind, **query):
                kube.delete(kind, each["metadata"]["name"])
        else:
            kube.http.delete(path, params=query, timeout=300).raise_for_status()
    for kind, _ in CHILDREN:
        left = lambda kind=kind: kube.every(kind, labelSelector="app=docker-registry")  # noqa: E731
        until(lambda left=left: not left(), why=f"{kind.name}s are gone", seconds=120)  # type: ignore[misc]
