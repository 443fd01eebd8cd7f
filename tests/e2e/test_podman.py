"""Test pulls by podman on the node: through the mirror, and past a dead one. CRI-O has the same code for them.

Podman sends no `ns`, and has no time-out of its own for a mirror that hangs.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.localcluster.node.fake_server import fake_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.testbed import Testbed

pytestmark = pytest.mark.usefixtures("no_mirror")

STORE = "/opt/podman"  # of the node alone
PODMAN = ("podman", "--root", STORE, "--runroot", "/run/podman", "--storage-driver", "vfs")
DROP_IN = "/etc/containers/registries.conf.d/registry-mirror-podman.conf"
OWN = "/etc/containers/registries.conf.d/own.conf"
WITHDRAWN = 12.0  # seconds, as for hosts.toml
PULL = 15.0  # seconds of a small pull on a loaded machine


@pytest.fixture
def podman(testbed: Testbed) -> Iterator[Testbed]:
    """Provide a mirror `podman` of the public upstream on a node with podman."""
    testbed.mirror("podman", testbed.world)
    testbed.until(lambda: testbed.node.exists(DROP_IN))
    yield testbed
    testbed.delete("podman")
    assert not testbed.node.exists(DROP_IN)
    testbed.node.run("rm", "-rf", STORE)


def pull(testbed: Testbed, image: str) -> float:
    """Pull an image by podman; return the seconds."""
    began = time.monotonic()
    testbed.node.run(*PODMAN, "pull", "--quiet", image)
    return time.monotonic() - began


def test_podman_pulls_through_the_mirror(podman: Testbed) -> None:
    """By the name of the upstream, and by masqueradeUrl."""
    host = podman.world.host
    image = podman.world.push("lib/podman:1", (2.0,))
    pull(podman, image)
    passed = podman.counted("podman")
    assert passed > 2_000_000
    podman.until(lambda: podman.kubectl("get", "rm", "podman", "-o", "jsonpath={.status.nodes.pulling}") == "1")
    other = podman.world.push("lib/podman:2", (2.0,))
    pull(podman, other.replace(host, f"mirror-{host}"))
    assert podman.counted("podman") > passed + 2_000_000


def test_podman_pulls_past_a_dead_mirror(podman: Testbed) -> None:
    """A mirror without pods refuses at once."""
    with podman.without_controller():
        podman.kubectl("scale", "statefulset", "registry-mirror-podman", "--replicas=0")
        assert pull(podman, podman.world.push("lib/podman:3", (2.0,))) < PULL
        podman.until(lambda: not podman.node.exists(DROP_IN), WITHDRAWN)
        assert pull(podman, podman.world.push("lib/podman:4", (2.0,))) < PULL
        podman.kubectl("scale", "statefulset", "registry-mirror-podman", "--replicas=1")
        podman.until(lambda: podman.node.exists(DROP_IN))


def test_podman_pulls_past_a_hanging_mirror(podman: Testbed) -> None:
    """Its drop-in is withdrawn as hosts.toml is. A pull before would take minutes."""
    with fake_server(podman.node, podman.address("podman"), fault="hang"):
        podman.until(lambda: not podman.node.exists(DROP_IN), WITHDRAWN)
        assert pull(podman, podman.world.push("lib/podman:5", (2.0,))) < PULL
    podman.until(lambda: podman.node.exists(DROP_IN), 90)


def test_registry_of_administrator_stays_as_it_is(podman: Testbed) -> None:
    """Podman reads both files. That of the administrator counts for his registry."""
    host = podman.world.host
    podman.node.write(OWN, f'[[registry]]\nprefix = "{host}"\nlocation = "{host}"\n')
    podman.until(lambda: f'prefix = "{host}"' not in podman.node.read(DROP_IN).decode())
    before = podman.counted("podman")
    pull(podman, podman.world.push("lib/podman:6", (2.0,)))
    assert podman.counted("podman") == before
    podman.node.run("rm", OWN)
    podman.until(lambda: f'prefix = "{host}"' in podman.node.read(DROP_IN).decode())
    pull(podman, podman.world.push("lib/podman:7", (2.0,)))
    assert podman.counted("podman") > before + 2_000_000
