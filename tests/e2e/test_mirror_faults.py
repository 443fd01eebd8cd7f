"""A mirror that is gone, dead or half-dead: pods start from the upstream, as if it had never existed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.localcluster.node.fake_server import fake_server, frozen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.testbed import Testbed

MORE = 15.0  # seconds that a pull may take longer than without the fault
PULL = 15.0  # seconds that the pull of a small image and the start of its pod take at most on a machine under load
# Seconds until a dead mirror is out of the way: two probes of 2 s, what a connection and the pause take besides.
WITHDRAWN = 12.0


@pytest.fixture
def image(world: Testbed, request: pytest.FixtureRequest) -> Iterator[str]:
    """An image that no cache has; the mirror is back on the node when the test has ended."""
    assert world.hosts_toml(world.world.host)
    tag = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[-60:].strip("-")
    yield world.world.push(f"lib/fault:{tag}", (2.0,))
    world.until(lambda: world.hosts_toml(world.world.host), 90)


def withdrawn(testbed: Testbed) -> float:
    """Wait until the node no longer points at the mirror; return the seconds."""
    return testbed.until(lambda: not testbed.hosts_toml(testbed.world.host), WITHDRAWN)


def test_a_mirror_without_pods(world: Testbed, image: str) -> None:
    """Its Service refuses at once, also before the node has noticed."""
    with world.without_controller():
        world.kubectl("scale", "statefulset", "registry-mirror-world", "--replicas=0")
        assert world.pull(image) < PULL + MORE
        withdrawn(world)
        assert world.pull(image) < PULL + MORE
        world.node.add_volumes(1)  # the claim went with the replica
        world.kubectl("scale", "statefulset", "registry-mirror-world", "--replicas=1")
        world.until(lambda: world.hosts_toml(world.world.host), 60)


def test_a_mirror_whose_packets_vanish(world: Testbed, image: str, flavour: str) -> None:
    """Withdrawn in seconds; containerd 2 gives up connecting after one second, also before that."""
    address = world.address("world")
    world.node.drop_packets(address)
    try:
        if flavour == "containerd-2":
            assert world.pull(image) < PULL + MORE
        withdrawn(world)
        assert world.pull(image) < PULL + MORE
    finally:
        world.node.let_packets(address)


def test_a_mirror_that_takes_connections_and_hangs(world: Testbed, image: str) -> None:
    """Withdrawn in seconds, although its pod is ready; the condition says what is wrong."""
    with fake_server(world.node, world.address("world"), fault="hang"):
        withdrawn(world)
        assert world.pull(image) < PULL + MORE
        world.becomes("world", "NodesConfigured", "MirrorUnreachable")
    world.becomes("world", "NodesConfigured", "AllNodesReady")


def test_a_mirror_that_stops_in_the_middle_of_everything(world: Testbed, image: str) -> None:
    """A frozen process: the kernel still takes connections for it."""
    with frozen(world.node, "registry-mirror-world-0"):
        withdrawn(world)
        assert world.pull(image) < PULL + MORE


def test_a_mirror_with_a_wrong_certificate(world: Testbed, image: str) -> None:
    """Whoever answers 200 in its place is not asked for images."""
    with fake_server(world.node, world.address("world"), fault=200):
        assert world.pull(image) < PULL + MORE
        withdrawn(world)
        assert world.pull(image) < PULL + MORE
        said = world.becomes("world", "NodesConfigured", "MirrorUnreachable")
        assert "certificate" in said["message"]
    world.becomes("world", "NodesConfigured", "AllNodesReady")
