"""Test the agent on its node: kills, rollouts, replaced files, moved mirrors."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from common.agent_protocol import METRICS_PATH, STATUS_PORT
from common.version import VERSION
from controller.objects.resources import POD, SERVICE
from hostess.hostsfile import hosts_block
from tests.support.traces import agents, changed, entry, traces

if TYPE_CHECKING:
    from tests.support.testbed import Testbed

pytestmark = pytest.mark.usefixtures("no_mirror")

KILLS = 50
# Seconds of an agent's life at most. It reads settings within 0.2 and writes everything within 1.
LIFE = 1.2
ELSEWHERE = "/etc/containerd/certs.d/elsewhere.local.test/hosts.toml"
THEIRS = b'server = "https://elsewhere.local.test"\n'
SOON = 30.0  # seconds until an agent has followed a change; it needs 2, and a restart by the kubelet 10


def test_agent_killed_at_random(testbed: Testbed) -> None:
    """Nothing foreign is lost, and nothing of the agent is left.

    The test removes what the agent wrote before each start, so that each kill interrupts a write.
    """
    node = testbed.node
    foreign = node.read("/etc/hosts") + b"192.0.2.7\tforeign.local.test\n# latin-1: \xe9\n10.0.0.1 no-end-of-line"
    before_all = node.read("/etc/hosts")
    node.write("/etc/hosts", foreign)
    node.write(ELSEWHERE, THEIRS)
    before = traces(node)
    testbed.mirror("kills", testbed.world)
    ours = f"/etc/containerd/certs.d/{testbed.world.host}/hosts.toml"
    killed = 0
    while killed < KILLS:
        testbed.until(lambda: agents(node, "kills"), SOON)
        moment = f"{random.uniform(0, LIFE):.2f}"  # noqa: S311 - of its life, no secret
        # A kill by the kubelet does not count.
        done = node.run("sh", "-c", "sleep $1; kill -9 $2", "sh", moment, *agents(node, "kills"), check=False)
        killed += done.returncode == 0
        assert hosts_block.parse(node.read("/etc/hosts")).foreign == foreign
        assert node.read(ELSEWHERE) == THEIRS
        node.run("rm", "-f", ours)
        node.write("/etc/hosts", foreign)
    testbed.until(lambda: testbed.hosts_toml(testbed.world.host), SOON)
    testbed.pull(testbed.world.push("lib/kills:1"))
    testbed.delete("kills")
    assert changed(node, before) == set()
    node.run("rm", "-r", "/etc/containerd/certs.d/elsewhere.local.test")
    node.write("/etc/hosts", before_all)


def test_agent_reports_use_of_mirror(testbed: Testbed) -> None:
    testbed.mirror("counted", testbed.world)
    address = testbed.kube.get(POD, testbed.agent("counted"))["status"]["podIP"]
    page = testbed.node.run("curl", "--silent", f"http://{address}:{STATUS_PORT}{METRICS_PATH}").stdout
    assert "\nregistrymirror_agent_mirror_in_use 1.0\n" in page
    assert f'registrymirror_build_info{{version="{VERSION}"}}' in page


def test_rollout_keeps_hosts_toml_and_pulls(testbed: Testbed) -> None:
    """No pull fails, all go through the mirror, and hosts.toml is not touched."""
    testbed.mirror("rolled", testbed.world)
    image, failed = testbed.world.push("lib/rolled:1", (2.0,)), testbed.failed_pulls()
    testbed.pull(image)
    taken, daemon_set = testbed.world.count("blob"), "daemonset/registry-mirror-rolled"
    toml = ("stat", "--format=%i %y", f"/etc/containerd/certs.d/{testbed.world.host}/hosts.toml")
    written = testbed.node.run(*toml).stdout
    for _ in range(3):
        testbed.kubectl("rollout", "restart", daemon_set)
        pulls, done = 0, False
        while not done:
            testbed.pull(image)
            pulls += 1
            done = "successfully rolled out" in testbed.kubectl("rollout", "status", daemon_set, "--watch=false")
        assert testbed.counted("rolled") > pulls * 2_000_000
    assert testbed.node.run(*toml).stdout == written
    assert testbed.failed_pulls() == failed
    assert testbed.world.count("blob") == taken
    testbed.delete("rolled")


def test_mirror_address_changes(testbed: Testbed) -> None:
    """The hosts entry follows, and pulls go on."""
    testbed.mirror("moved", testbed.world)
    image, address = testbed.world.push("lib/moved:1", (2.0,)), testbed.address("moved")
    testbed.pull(image)
    testbed.kubectl("delete", "service", "registry-mirror-moved")
    testbed.pull(image)
    testbed.until(
        lambda: testbed.kube.find(SERVICE, "registry-mirror-moved") and testbed.address("moved") != address, SOON
    )
    testbed.until(lambda: entry(testbed.node, "moved").split()[:1] == [testbed.address("moved").encode()], SOON)
    testbed.wait_ready("moved")
    passed = testbed.counted("moved")
    testbed.pull(image)
    assert testbed.counted("moved") > passed + 2_000_000
    testbed.delete("moved")


def test_hosts_file_replaced_by_rename(testbed: Testbed) -> None:
    """The agent gets a new pod that writes the new file, also if the old file stays."""
    testbed.mirror("renamed", testbed.world)
    written = hosts_block.parse(testbed.node.read("/etc/hosts")).foreign
    for line, keep in ((b"192.0.2.8 new.local.test\n", False), (b"192.0.2.9 newer.local.test\n", True)):
        testbed.node.write("/etc/hosts.new", written + line)
        if keep:
            testbed.node.run("mv", "/etc/hosts", "/etc/hosts.bak")
        testbed.node.run("mv", "/etc/hosts.new", "/etc/hosts")
        testbed.until(lambda: entry(testbed.node, "renamed"), 60)
        assert hosts_block.parse(testbed.node.read("/etc/hosts")).foreign == written + line
    testbed.delete("renamed")
    assert testbed.node.read("/etc/hosts") == written + b"192.0.2.9 newer.local.test\n"
    testbed.node.run("rm", "/etc/hosts.bak")
    testbed.node.write("/etc/hosts", written)


def test_hosts_file_and_folder_removed(testbed: Testbed) -> None:
    """The runtime creates no directory in place of the missing file."""
    testbed.node.run("chmod", "644", "/etc/hosts")  # the mode of the file written below
    testbed.node.run("mkdir", "--parents", "/etc/docker/certs.d")
    before = traces(testbed.node)
    testbed.mirror("removed", testbed.world)
    written, first = hosts_block.parse(testbed.node.read("/etc/hosts")).foreign, testbed.agent("removed")
    testbed.node.run("rm", "/etc/hosts")
    testbed.until(lambda: testbed.agent("removed") not in (first, ""), SOON)
    testbed.until(
        lambda: "is not a file" in testbed.kubectl("describe", "pod", testbed.agent("removed"), check=False), SOON
    )
    assert not testbed.node.exists("/etc/hosts")
    testbed.node.write("/etc/hosts", written)
    testbed.until(lambda: entry(testbed.node, "removed"), 60)
    testbed.node.run("rm", "-r", "/etc/docker/certs.d", "/etc/docker")
    testbed.until(lambda: testbed.node.exists("/etc/docker/certs.d"), SOON)
    testbed.delete("removed")
    testbed.node.run("mkdir", "--parents", "/etc/docker/certs.d")
    assert changed(testbed.node, before) == set()
