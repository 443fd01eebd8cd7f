"""Test pulls with a dead or faulty mirror: they use the upstream."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from tests.localcluster.node.fake_server import fake_server, frozen
from tests.localcluster.node.inside import CONNECT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.testbed import Testbed

MORE = 15.0  # more seconds of a pull than without the fault
PULL = 15.0  # seconds of a small pull and the start of its pod on a loaded machine
# Seconds until a dead mirror is withdrawn: two probes of 2 s, connections and pauses.
WITHDRAWN = 12.0


@pytest.fixture
def image(world: Testbed, request: pytest.FixtureRequest) -> Iterator[str]:
    """Push an uncached image; wait for the mirror after the test."""
    assert world.hosts_toml(world.world.host)
    tag = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[-60:].strip("-")
    yield world.world.push(f"lib/fault:{tag}", (2.0,))
    world.until(lambda: world.hosts_toml(world.world.host), 90)


def withdrawn(testbed: Testbed) -> float:
    """Wait until the node no longer uses the mirror; return the seconds."""
    return testbed.until(lambda: not testbed.hosts_toml(testbed.world.host), WITHDRAWN)


def test_mirror_without_pods(world: Testbed, image: str) -> None:
    """Its Service refuses at once, also before the node notices."""
    with world.without_controller():
        world.kubectl("scale", "statefulset", "registry-mirror-world", "--replicas=0")
        assert world.pull(image) < PULL + MORE
        withdrawn(world)
        assert world.pull(image) < PULL + MORE
        world.kubectl("scale", "statefulset", "registry-mirror-world", "--replicas=1")
        world.until(lambda: world.hosts_toml(world.world.host), 60)


def test_mirror_with_lost_packets(world: Testbed, image: str, flavour: str) -> None:
    """It is withdrawn in seconds. containerd 2 gives up after one second even before."""
    address = world.address("world")
    world.node.drop_packets(address)
    try:
        if flavour == "containerd-2":
            assert world.pull(image) < PULL + MORE
        withdrawn(world)
        assert world.pull(image) < PULL + MORE
    finally:
        world.node.let_packets(address)


def test_node_loses_its_own_packets(world: Testbed, image: str) -> None:
    """K1: the mirror is withdrawn, although pods of the node reach it."""
    address = world.address("world")
    world.node.drop_packets(address, chains=("OUTPUT",))
    try:
        withdrawn(world)
        world.kubectl("exec", world.agent("world"), "--", "python3", "-c", CONNECT, address, "443")
        assert world.pull(image) < PULL + MORE
        condition = world.becomes("world", "NodesConfigured", "MirrorUnreachable")
        assert "no answer within 2 s" in condition["message"]
        assert world.condition("world", "Ready")["status"] == "False"
    finally:
        world.node.let_packets(address, chains=("OUTPUT",))
    world.becomes("world", "NodesConfigured", "AllNodesReady")


def test_node_without_its_dialer(world: Testbed) -> None:
    """K1: the status claims nothing until a dialer probes the node's own network."""
    select(world, "true")
    try:
        condition = world.becomes("world", "NodesConfigured", "NodeNetworkNotProbed")
        assert condition["status"] == "Unknown"
        assert "registrymirror-dialer" in condition["message"]
        assert world.condition("world", "Ready")["status"] == "Unknown"
        assert world.hosts_toml(world.world.host), "pulls go on"
    finally:
        select(world, None)
    world.becomes("world", "NodesConfigured", "AllNodesReady")


def select(testbed: Testbed, value: str | None) -> None:
    """Let the dialer run on nodes with a label of this value only; None ends that."""
    patch = {"spec": {"template": {"spec": {"nodeSelector": {"away": value}}}}}
    testbed.kubectl("patch", "daemonset/registrymirror-dialer", "--type=merge", "-p", json.dumps(patch))


def test_mirror_that_hangs(world: Testbed, image: str) -> None:
    """It is withdrawn although its pod is ready, and a condition says why."""
    with fake_server(world.node, world.address("world"), fault="hang"):
        withdrawn(world)
        assert world.pull(image) < PULL + MORE
        world.becomes("world", "NodesConfigured", "MirrorUnreachable")
    world.becomes("world", "NodesConfigured", "AllNodesReady")


def test_mirror_that_is_frozen(world: Testbed, image: str) -> None:
    """The kernel still accepts connections for a frozen process."""
    with frozen(world.node, "registry-mirror-world-0"):
        withdrawn(world)
        assert world.pull(image) < PULL + MORE


def test_mirror_with_wrong_certificate(world: Testbed, image: str) -> None:
    """A foreign server at its address gets no pulls."""
    with fake_server(world.node, world.address("world"), fault=200):
        assert world.pull(image) < PULL + MORE
        withdrawn(world)
        assert world.pull(image) < PULL + MORE
        condition = world.becomes("world", "NodesConfigured", "MirrorUnreachable")
        assert "certificate" in condition["message"]
    world.becomes("world", "NodesConfigured", "AllNodesReady")
