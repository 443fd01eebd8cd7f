"""Test pulls by dockerd of Debian's docker.io on the node: by masqueradeUrl, with the hosts entry and the CA alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.localcluster.node import debian

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.testbed import Testbed

pytestmark = pytest.mark.usefixtures("no_mirror")

DATA, SOCKET = "/opt/dockerd", "unix:///run/dockerd.sock"
# Nothing of the node is touched: no bridge, no rules, a containerd of its own.
OPTIONS = (
    *("--data-root", DATA, "--exec-root", "/run/dockerd", "--pidfile", "/run/dockerd.pid", "--host", SOCKET),
    *("--iptables=false", "--bridge=none", "--storage-driver=vfs"),
)


@pytest.fixture
def docker(testbed: Testbed, tmp_path: Path) -> Iterator[tuple[str, ...]]:
    """Return the command of a client, while dockerd runs on the node."""
    debian.unpack("docker.io", tmp_path)
    client = (str(tmp_path / "usr/bin/docker"), "--host", SOCKET)
    testbed.node.sandbox.launch("dockerd", [str(tmp_path / "usr/sbin/dockerd"), *OPTIONS])
    testbed.until(lambda: testbed.node.run(*client, "version", check=False).returncode == 0)
    yield client
    testbed.node.sandbox.end("dockerd")
    testbed.node.run("rm", "-rf", DATA)


def test_docker_pulls_by_masquerade_url(testbed: Testbed, docker: tuple[str, ...]) -> None:
    """By the upstream's name it pulls past the mirror: docker has no mirrors of single registries."""
    testbed.mirror("docker", testbed.world)
    host = testbed.world.host
    image = testbed.world.push("lib/docker:1", (2.0,))
    testbed.node.run(*docker, "pull", image)
    assert testbed.counted("docker") == 0
    testbed.node.run(*docker, "image", "rm", image)
    testbed.node.run(*docker, "pull", image.replace(host, f"mirror-{host}"))
    assert testbed.counted("docker") > 2_000_000
    testbed.delete("docker")
