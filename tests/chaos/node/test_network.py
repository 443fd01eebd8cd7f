"""Test lost packets between our programs and the API server."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from controller.kubeclient.client import WATCH_SILENCE
from controller.objects.resources import LEASE, POD
from tests.localcluster.families import API_SERVER, IPV4
from tests.support.audit import entries
from tests.support.pulling import pulling, pushed
from tests.support.traces import traces

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.chaos import Chaos
    from tests.support.testbed import Testbed

LEASE_SECONDS = 15.0
CONTROLLER = "app.kubernetes.io/name=registrymirror-controller"
WITHDRAWN = 12.0  # seconds until a dead mirror is withdrawn


@contextmanager
def cut_off(testbed: Testbed, pod: str) -> Iterator[str]:
    """Drop all packets of a pod to the API server during the block; yield the pod's address."""
    address: str = testbed.kube.get(POD, pod)["status"]["podIP"]
    testbed.node.drop_packets(API_SERVER[IPV4], source=address)
    try:
        yield address
    finally:
        testbed.node.let_packets(API_SERVER[IPV4], source=address)


def leader(testbed: Testbed) -> str:
    """Return the pod that holds the lease."""
    holder: str = testbed.kube.get(LEASE, "registrymirror-controller")["spec"]["holderIdentity"]
    pods = (pod["metadata"]["name"] for pod in testbed.kube.every(POD))
    return next((name for name in pods if holder.startswith(name)), "")


def writes_from(testbed: Testbed, address: str) -> int:
    """Return the number of a pod's accepted writes, except leases."""
    return sum(
        line["stage"] == "ResponseComplete"
        and address in line.get("sourceIPs", ())
        and line["verb"] in {"create", "update", "patch", "delete"}
        and line.get("objectRef", {}).get("resource") not in {"leases", "events"}
        and line["responseStatus"]["code"] < 300
        for line in entries(testbed.node.cluster)
    )


def test_leader_without_api_server(world: Testbed, chaos: Chaos) -> None:
    """Another replica leads. The former leader writes nothing more, then waits."""
    former = leader(world)
    with cut_off(world, former) as address:
        other = world.until(lambda: leader(world) not in {"", former}, 4 * LEASE_SECONDS)
        written = writes_from(world, address)
        world.change("world", ttl="100h")
        reported = other + world.until(lambda: world.condition("world", "Accepted")["status"] == "True")
        successor = leader(world)
    world.wait_ready("world")
    back = world.until(lambda: ready(world, former), 90)
    assert leader(world) == successor
    assert writes_from(world, address) == written
    chaos.row(
        "leader cut off from the API server",
        lost="0 of 1 changes",
        condition=reported,
        recovered=reported + back,
        note="it wrote nothing more",
    )
    world.change("world", ttl=None)


def ready(testbed: Testbed, pod: str) -> bool:
    """Return True if a pod is Ready."""
    found = testbed.kube.get(POD, pod)["status"]["conditions"]
    return any(each["type"] == "Ready" and each["status"] == "True" for each in found)


def test_agent_without_api_server(world: Testbed, chaos: Chaos) -> None:
    """The node stays as it is. A dead mirror is still withdrawn, and comes back."""
    images = pushed(world, "cutoff")
    with cut_off(world, world.agent("world")):
        with pulling(world, images) as pulls:
            pulls.more(len(images))
            files, taken, passed = traces(world.node), world.world.count("blob"), world.counted("world")
            pulls.more(len(images))
            assert traces(world.node) == files
            assert world.world.count("blob") == taken
            assert world.counted("world") > passed
        mirror = world.address("world")
        world.node.drop_packets(mirror)
        try:
            withdrawn = world.until(lambda: not world.hosts_toml(world.world.host), WITHDRAWN)
            with pulling(world, images) as others:
                others.more(len(images))
        finally:
            world.node.let_packets(mirror)
        back = world.until(lambda: world.hosts_toml(world.world.host), WITHDRAWN)
        assert traces(world.node) == files
    assert pulls.failed + others.failed == []
    lost = f"{len(pulls.failed + others.failed)} of {len(pulls.seconds + others.seconds)} pulls"
    note = f"a mirror that died meanwhile was withdrawn after {withdrawn:.1f} s"
    chaos.row("agent cut off from the API server", lost=lost, recovered=back, note=note)


# Seconds. With lost acknowledgements the API server resends ever more rarely, so a watch may be silent until the next
# one. One in twenty new requests takes over 30 s, and the leader changes often.
RECONCILED_WITHIN = WATCH_SILENCE + 240


@pytest.mark.timeout(2 * RECONCILED_WITHIN + 60)
def test_controllers_lose_half_of_packets(world: Testbed, chaos: Chaos) -> None:
    """Half of the packets to the API server are lost, and changes are still reconciled."""
    addresses = [pod["status"]["podIP"] for pod in world.kube.every(POD, labelSelector=CONTROLLER)]
    for address in addresses:
        world.node.drop_packets(API_SERVER[IPV4], source=address, share=0.5)
    try:
        world.change("world", ttl="101h")
        reported = world.until(lambda: world.condition("world", "Accepted")["status"] == "True", RECONCILED_WITHIN)
    finally:
        for address in addresses:
            world.node.let_packets(API_SERVER[IPV4], source=address, share=0.5)
    world.change("world", ttl=None)
    recovered = world.until(lambda: world.condition("world", "Ready")["status"] == "True", RECONCILED_WITHIN)
    chaos.row("half of the controllers' packets lost", lost="0 of 2 changes", condition=reported, recovered=recovered)
