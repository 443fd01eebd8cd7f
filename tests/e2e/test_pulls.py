"""Pods whose images are named after the upstream come through the mirror."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.pods import a_pod, remove, runs
from tests.support.pulling import pull_at_once

if TYPE_CHECKING:
    from tests.support.testbed import Testbed

LARGE = (60.0, 50.0, 40.0, 30.0, 25.0)  # MB; 205 in five layers


def test_unchanged_image_name_uses_mirror(world: Testbed) -> None:
    """The mirror has counted its bytes; the second pull takes no blob from the upstream."""
    image = world.world.push("lib/small:1", (3.0, 2.0))
    world.pull(image)
    assert world.counted("world") > 5_000_000
    taken, passed = world.world.count("blob"), world.counted("world")
    world.pull(image)
    assert world.world.count("blob") == taken
    assert world.counted("world") > passed + 5_000_000


def test_pulling_node_is_counted(world: Testbed) -> None:
    """K1: the node that pulled, and not what its files promise. A wide table shows the number."""
    world.pull(world.world.push("lib/counted:1", (1.0,)))
    world.until(lambda: world.kubectl("get", "rm", "world", "-o", "jsonpath={.status.nodes.pulling}") == "1")
    head, row = world.kubectl("get", "rm", "world", "-o", "wide").splitlines()
    assert row.split()[head.split().index("PULLING")] == "1"


def test_masquerade_name_uses_mirror(world: Testbed) -> None:
    """The node knows it by its hosts file and trusts the mirror's CA."""
    image = world.world.push("lib/masquerade:1", (2.0,))
    name = world.kubectl("get", "rm", "world", "-o", "jsonpath={.status.masqueradeUrl}")
    world.node.apply([a_pod("masquerade", image.replace(world.world.host, name))])
    runs(world.node, "masquerade")
    remove(world.node, "masquerade")


def test_large_image_uses_mirror(world: Testbed) -> None:
    """At once, and again from the cache alone."""
    image = world.world.push("lib/large:1", LARGE)
    world.pull(image, seconds=120)
    taken = world.world.count("blob")
    world.pull(image, seconds=120)
    assert world.world.count("blob") == taken


def test_ten_pods_pull_one_image(world: Testbed) -> None:
    """None of them fails."""
    image = world.world.push("lib/ten:1", (20.0,))
    pods = [world.start_pull(image, policy="IfNotPresent") for _ in range(10)]
    for pod in pods:
        world.runs(pod, image, 120)
    remove(world.node, *pods)


def test_herd_costs_one_download(world: Testbed) -> None:
    """Ten clients pull a new image at once; the upstream sends each blob once."""
    clients, megabytes = 10, 40.0
    image, served = world.world.push("lib/herd:1", (megabytes / 2, megabytes / 2)), world.counted("world")
    world.world.slow(20_000_000)  # bytes a second: all clients ask before the end
    try:
        pull_at_once(world.node, image, clients)
    finally:
        world.world.slow(None)
    sent = [each.path for each in world.world.records() if each.kind == "blob" and "/lib/herd/" in each.path]
    assert len(sent) == len(set(sent)) > 2
    assert world.counted("world") > served + clients * megabytes * 1_000_000


def test_docker_hub_images_use_mirror(testbed: Testbed) -> None:
    """docker.io/library/..., with the token that Docker Hub asks for."""
    testbed.apply_mirror("hub", "hub.docker.io")
    testbed.wait_ready("hub")
    assert testbed.hub.push("library/test:1", (2.0,)) == "docker.io/library/test:1"
    testbed.pull("docker.io/library/test:1")
    assert testbed.counted("hub") > 2_000_000
    taken = testbed.hub.count("blob")
    testbed.pull("docker.io/library/test:1")
    assert testbed.hub.count("blob") == taken
    testbed.delete("hub")
