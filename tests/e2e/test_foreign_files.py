"""K5: files of other users on the node stop no mirror of another host, and no deletion."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.traces import changed, traces

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.testbed import Testbed

pytestmark = pytest.mark.usefixtures("no_mirror")

FOLDER = "/etc/containerd/certs.d/quay.io"
CLEAN_WITHIN = 30.0  # seconds; the deadline is 120
LARGE = "head --bytes=7M /dev/zero | tr '\\0' '#' >> /etc/hosts"


@pytest.fixture(
    params=[
        f"mkdir --parents {FOLDER}/hosts.toml",
        f"mkdir --parents {FOLDER}; cd {FOLDER}; touch hosts.toml; chmod 600 hosts.toml; chown nobody hosts.toml",
        f"mkdir --parents {FOLDER}; touch {FOLDER}/x; chmod 700 {FOLDER}; chown nobody {FOLDER}",
        f"mkdir --parents {FOLDER}; mkfifo {FOLDER}/hosts.toml",
    ],
    ids=["a directory", "a private file", "a private folder", "a pipe"],
)
def foreign(testbed: Testbed, request: pytest.FixtureRequest) -> Iterator[Testbed]:
    """Provide a node with something that the agent cannot read."""
    testbed.node.run("sh", "-c", request.param)
    yield testbed
    testbed.node.run("rm", "-r", FOLDER)


def test_foreign_file_stops_no_mirror(foreign: Testbed) -> None:
    before = traces(foreign.node)
    foreign.mirror("beside", foreign.world)
    foreign.pull(foreign.world.push("lib/beside:1", (2.0,)))
    assert foreign.counted("beside") > 2_000_000
    foreign.delete("beside", CLEAN_WITHIN)
    assert changed(foreign.node, before) == set()


def test_large_hosts_file_delays_no_deletion(testbed: Testbed) -> None:
    """The agent never wrote it, so there is nothing to clean."""
    written = testbed.node.read("/etc/hosts")
    testbed.node.run("sh", "-c", LARGE)
    before = traces(testbed.node)
    try:
        testbed.apply_mirror("large", testbed.world.host)
        condition = testbed.becomes("large", "NodesConfigured", "HostsFileUnwritable", 120)
        assert "Shorten it" in condition["message"]
        testbed.delete("large", CLEAN_WITHIN)
        assert changed(testbed.node, before) == set()
    finally:
        testbed.node.write("/etc/hosts", written)
