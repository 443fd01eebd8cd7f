"""The agent on its node: killed, rolled out, its hosts file replaced, its mirror moved."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from controller.objects.resources import SERVICE
from hostess.hostsfile import hosts_block
from tests.support.traces import agents, changed, entry, traces

if TYPE_CHECKING:
    from tests.support.land import Land

pytestmark = pytest.mark.usefixtures("no_mirror")

KILLS = 50
# Seconds after its start in which an agent is killed: it has read its settings after 0.2 and written all of it after 1.
LIFE = 1.2
ELSEWHERE = "/etc/containerd/certs.d/elsewhere.local.test/hosts.toml"
THEIRS = b'server = "https://elsewhere.local.test"\n'
SOON = 30.0  # seconds in which an agent follows what is changed; it needs 2, and the kubelet 10 to start it again


def test_agent_killed_at_random(land: Land) -> None:
    """Nothing foreign is lost meanwhile, nothing of ours is left in the end.

    Each time what it wrote is taken away by hand before its successor starts, so that each is killed in the middle of
    writing all of it.
    """
    node = land.node
    foreign = node.read("/etc/hosts") + b"192.0.2.7\tforeign.local.test\n# latin-1: \xe9\n10.0.0.1 no-end-of-line"
    before_all = node.read("/etc/hosts")
    node.write("/etc/hosts", foreign)
    node.write(ELSEWHERE, THEIRS)
    before = traces(node)
    land.mirror("kills", land.world)
    ours = f"/etc/containerd/certs.d/{land.world.host}/hosts.toml"
    killed = 0
    while killed < KILLS:
        land.until(lambda: agents(node, "kills"), SOON)
        moment = f"{random.uniform(0, LIFE):.2f}"  # noqa: S311 - of its life, no secret
        # The kubelet may have ended it before: then it is not one of the fifty.
        done = node.run("sh", "-c", "sleep $1; kill -9 $2", "sh", moment, *agents(node, "kills"), check=False)
        killed += done.returncode == 0
        assert hosts_block.parse(node.read("/etc/hosts")).foreign == foreign
        assert node.read(ELSEWHERE) == THEIRS
        node.run("rm", "-f", ours)
        node.write("/etc/hosts", foreign)
    land.until(lambda: land.hosts_toml(land.world.host), SOON)
    land.pull(land.world.push("lib/kills:1"))
    land.delete("kills")
    assert changed(node, before) == set()
    node.run("rm", "-r", "/etc/containerd/certs.d/elsewhere.local.test")
    node.write("/etc/hosts", before_all)


def failed_pulls(land: Land) -> str:
    """What the kubelet has said of pulls that failed."""
    fields = "--field-selector=reason=Failed,involvedObject.kind=Pod"
    return land.node.cluster.run_kubectl("get", "events", fields, "-o", "jsonpath={.items[*].message}").stdout


def test_rollout_keeps_hosts_toml_and_pulls(land: Land) -> None:
    """No pull fails, all of them go through the mirror, and hosts.toml is neither removed nor written again."""
    land.mirror("rolled", land.world)
    image, failed = land.world.push("lib/rolled:1", (2.0,)), failed_pulls(land)
    land.pull(image)
    taken, daemon_set = land.world.count("blob"), "daemonset/registry-mirror-rolled"
    toml = ("stat", "--format=%i %y", f"/etc/containerd/certs.d/{land.world.host}/hosts.toml")
    written = land.node.run(*toml).stdout
    for _ in range(3):
        land.kubectl("rollout", "restart", daemon_set)
        pulls, done = 0, False
        while not done:
            land.pull(image)
            pulls += 1
            done = "successfully rolled out" in land.kubectl("rollout", "status", daemon_set, "--watch=false")
        assert land.counted("rolled") > pulls * 2_000_000
    assert land.node.run(*toml).stdout == written
    assert failed_pulls(land) == failed
    assert land.world.count("blob") == taken
    land.delete("rolled")


def test_mirror_address_changes(land: Land) -> None:
    """The hosts entry follows, and pulls go on all along."""
    land.mirror("moved", land.world)
    image, address = land.world.push("lib/moved:1", (2.0,)), land.address("moved")
    land.pull(image)
    land.kubectl("delete", "service", "registry-mirror-moved")
    land.pull(image)
    land.until(lambda: land.kube.find(SERVICE, "registry-mirror-moved") and land.address("moved") != address, SOON)
    land.until(lambda: entry(land.node, "moved").split()[:1] == [land.address("moved").encode()], SOON)
    land.wait_ready("moved")
    passed = land.counted("moved")
    land.pull(image)
    assert land.counted("moved") > passed + 2_000_000
    land.delete("moved")


def test_hosts_file_replaced_by_rename(land: Land) -> None:
    """The agent has the old one mounted: it gets a new pod, which writes the new one. Also where the old one stays."""
    land.mirror("renamed", land.world)
    written = hosts_block.parse(land.node.read("/etc/hosts")).foreign
    for line, keep in ((b"192.0.2.8 new.local.test\n", False), (b"192.0.2.9 newer.local.test\n", True)):
        land.node.write("/etc/hosts.new", written + line)
        if keep:
            land.node.run("mv", "/etc/hosts", "/etc/hosts.bak")
        land.node.run("mv", "/etc/hosts.new", "/etc/hosts")
        land.until(lambda: entry(land.node, "renamed"), 60)
        assert hosts_block.parse(land.node.read("/etc/hosts")).foreign == written + line
    land.delete("renamed")
    assert land.node.read("/etc/hosts") == written + b"192.0.2.9 newer.local.test\n"
    land.node.run("rm", "/etc/hosts.bak")
    land.node.write("/etc/hosts", written)


def test_hosts_file_and_folder_removed(land: Land) -> None:
    """No directory takes the file's place meanwhile, which a container that is restarted would get the node."""
    land.node.run("chmod", "644", "/etc/hosts")  # as it will be when it is written anew
    before = traces(land.node)
    land.mirror("removed", land.world)
    written, first = hosts_block.parse(land.node.read("/etc/hosts")).foreign, land.agent("removed")
    land.node.run("rm", "/etc/hosts")
    land.until(lambda: land.agent("removed") not in (first, ""), SOON)
    land.until(lambda: "is not a file" in land.kubectl("describe", "pod", land.agent("removed"), check=False), SOON)
    assert not land.node.exists("/etc/hosts")
    land.node.write("/etc/hosts", written)
    land.until(lambda: entry(land.node, "removed"), 60)
    land.node.run("rm", "-r", "/etc/docker/certs.d", "/etc/docker")
    land.until(lambda: land.node.exists("/etc/docker/certs.d"), SOON)
    land.delete("removed")
    land.node.run("mkdir", "--parents", "/etc/docker/certs.d")
    assert changed(land.node, before) == set()
