"""K2: each name that a runtime takes for a registry leads to its mirror."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.traces import changed, traces

if TYPE_CHECKING:
    from tests.support.testbed import Testbed

pytestmark = pytest.mark.usefixtures("no_mirror")


def pulls_through(testbed: Testbed, mirror: str, image: str) -> None:
    """Pull an image by a pod, and assert that its bytes come through the mirror."""
    before = testbed.counted(mirror)
    pod = testbed.start_pull(image)
    testbed.node.cluster.run_kubectl("wait", "--for=condition=Ready", f"pod/{pod}", "--timeout=60s")
    # The runtime stores this one name of Docker Hub under the usual one. Kept content would not be pulled again.
    testbed.forget(pod, image.replace("index.docker.io/", "docker.io/"))
    assert testbed.counted(mirror) > before + 2_000_000, image


def test_pull_with_the_default_port(testbed: Testbed) -> None:
    before = traces(testbed.node)
    testbed.apply_mirror("names", f"{testbed.world.host}:443")
    testbed.wait_ready("names")
    image = testbed.world.push("lib/names:1", (2.0,))
    for host in (testbed.world.host, f"{testbed.world.host}:443"):
        pulls_through(testbed, "names", image.replace(testbed.world.host, host))
    testbed.delete("names")
    assert changed(testbed.node, before) == set()


def test_pull_by_each_name_of_docker_hub(testbed: Testbed) -> None:
    before = traces(testbed.node)
    testbed.mirror("hub", testbed.hub)
    image = testbed.hub.push("library/names:1", (2.0,))
    for host in ("docker.io", "index.docker.io", "registry-1.docker.io", "registry-1.docker.io:443"):
        pulls_through(testbed, "hub", image.replace("docker.io", host))
    testbed.delete("hub")
    assert changed(testbed.node, before) == set()


def test_pull_by_the_implied_name_of_an_address(testbed: Testbed) -> None:
    """The runtime takes a first part without a dot for a repository of Docker Hub."""
    testbed.apply_mirror("address", testbed.world.address)
    testbed.wait_ready("address")
    name = testbed.kubectl("get", "rm", "address", "-o", "jsonpath={.status.masqueradeUrl}")
    image = testbed.world.push("lib/address:1", (2.0,))
    for host in (name, testbed.world.address, f"{testbed.world.address}:443"):
        pulls_through(testbed, "address", image.replace(testbed.world.host, host))
