"""The agent on its node: killed, restarted, replaced, away; two mirrors beside each other; addresses that change."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from deploy.local.node.impostor import frozen
from deploy.local.node.kubelet import KUBELET
from deploy.local.node.onpaper import add_dead_node, remove_node
from hostess import hosts
from tests.support.traces import agents, changed, traces

if TYPE_CHECKING:
    from tests.support.land import Land

KILLS = 50
# Seconds after its start in which an agent is killed: it has read its settings after 0.2 and written all of it after 1.
LIFE = 1.2
ELSEWHERE = "/etc/containerd/certs.d/elsewhere.local.test/hosts.toml"
SOON = 30.0  # seconds in which an agent follows what is changed; it needs 2, and the kubelet 10 to start it again


def entry(land: Land, name: str) -> bytes:
    """The lines of a mirror in the node's hosts file."""
    return hosts.parse(land.node.read("/etc/hosts")).blocks.get(name, b"")


def points_at(land: Land, host: str) -> bytes:
    """The hosts.toml of an image host, empty where there is none."""
    path = f"/etc/containerd/certs.d/{host}/hosts.toml"
    return land.node.sandbox.run(["cat", path], check=False).stdout


def test_an_agent_is_killed_at_random_points_fifty_times(land: Land) -> None:
    """Nothing foreign is lost meanwhile, nothing of ours is left in the end.

    Each time what it wrote is taken away by hand before its successor starts, so that each is killed in the middle of
    writing all of it. Its pod is made anew, as the kubelet would let a killed container wait for minutes.
    """
    node = land.node
    foreign = node.read("/etc/hosts") + b"192.0.2.7\tforeign.local.test\n# latin-1: \xe9\n10.0.0.1 no-end-of-line"
    before_all = node.read("/etc/hosts")
    node.write("/etc/hosts", foreign)
    node.write(ELSEWHERE, 'server = "https://elsewhere.local.test"\n')
    before = traces(node)
    land.mirror("kills", land.world)
    ours = f"/etc/containerd/certs.d/{land.world.host}/hosts.toml"
    for _ in range(KILLS):
        pod = land.agent("kills")
        land.until(lambda: agents(node, "kills"), SOON)
        moment = f"{random.uniform(0, LIFE):.2f}"  # noqa: S311 - of its life, no secret
        node.run("sh", "-c", "sleep $1; kill -9 $2", "sh", moment, *agents(node, "kills"))
        assert hosts.parse(node.read("/etc/hosts")).foreign == foreign
        assert node.read(ELSEWHERE) == b'server = "https://elsewhere.local.test"\n'
        node.run("rm", "-f", ours)
        node.write("/etc/hosts", foreign)
        land.kubectl("delete", "pod", pod, "--grace-period=0", "--force")
        land.until(lambda pod=pod: land.agent("kills") not in {"", pod}, SOON)  # type: ignore[misc]
    land.until(lambda: land.hosts_toml(land.world.host), SOON)
    land.pull(land.world.push("lib/kills:1"))
    land.delete("kills")
    assert changed(node, before) == set()
    node.run("rm", "-r", "/etc/containerd/certs.d/elsewhere.local.test")
    node.write("/etc/hosts", before_all)


def test_two_mirrors_of_two_upstreams(land: Land) -> None:
    """Each has its images; when one goes the other stays as it is."""
    before = traces(land.node)
    land.mirror("one", land.world)
    land.mirror("two", land.private, credentialsSecret=land.credentials(land.private))
    images = {"one": land.world.push("lib/two:1", (2.0,)), "two": land.private.push("lib/two:1", (2.0,))}
    for name, image in images.items():
        land.pull(image)
        assert land.counted(name) > 2_000_000
    land.delete("one")
    assert not land.hosts_toml(land.world.host)
    land.pull(images["two"])
    assert land.counted("two") > 4_000_000
    land.pull(images["one"])
    land.delete("two")
    assert changed(land.node, before) == set()


def test_two_mirrors_of_one_upstream(land: Land) -> None:
    """The older one's hosts.toml stands; the younger is reached by its own name, and takes over in the end."""
    before = traces(land.node)
    land.mirror("older", land.world)
    land.mirror("younger", land.world, masqueradeUrl="younger.local.test")
    assert "older" in land.condition("younger", "NodesConfigured")["message"]
    image = land.world.push("lib/both:1", (2.0,))
    land.pull(image)
    assert (land.counted("older") > 2_000_000, land.counted("younger")) == (True, 0)
    assert entry(land, "younger").split() == [land.address("younger").encode(), b"younger.local.test"]
    land.delete("older")
    land.until(lambda: b"younger.local.test" in points_at(land, land.world.host), SOON)
    land.pull(image)
    assert land.counted("younger") > 2_000_000
    land.delete("younger")
    assert changed(land.node, before) == set()


def test_a_mirror_is_deleted_while_its_agent_hangs(land: Land) -> None:
    """It waits for that node, and says so."""
    before = traces(land.node)
    land.mirror("hangs", land.world)
    with frozen(land.node, land.agent("hangs")):
        land.kubectl("delete", "rm", "hangs", "--wait=false")
        land.until(lambda: land.node.name in land.condition("hangs", "NodesConfigured")["message"], SOON)
        assert land.condition("hangs", "NodesConfigured")["reason"] == "Cleaning"
        assert land.hosts_toml(land.world.host)
    land.delete("hangs")
    assert changed(land.node, before) == set()


def test_a_mirror_is_deleted_while_its_agent_is_dead(land: Land) -> None:
    """The kubelet, that is back after a while, starts the agent, and the agent cleans."""
    before = traces(land.node)
    land.mirror("dead", land.world)
    land.node.stop_component(KUBELET)
    try:
        land.node.run("kill", "-9", *agents(land.node, "dead"))
        land.kubectl("delete", "rm", "dead", "--wait=false")
        land.becomes("dead", "NodesConfigured", "Cleaning")
        assert land.hosts_toml(land.world.host)
    finally:
        land.node.start_component(KUBELET)
    land.delete("dead")
    assert changed(land.node, before) == set()


def test_a_mirror_is_deleted_while_one_of_its_nodes_is_dead(land: Land) -> None:
    """The other is cleaned at once; at the deadline the mirror goes, and an Event names the dead one."""
    before = traces(land.node)
    land.system.set_environment(NODE_CLEANUP_DEADLINE="20")
    land.mirror("paper", land.world)
    dead = add_dead_node(land.node)
    try:
        nodes = ("get", "rm", "paper", "-o", "jsonpath={.status.nodes.desired}")
        land.until(lambda: land.kubectl(*nodes) == "2", SOON)
        land.kubectl("delete", "rm", "paper", "--wait=false")
        land.until(lambda: not changed(land.node, before), 15)
        land.kubectl("wait", "--for=delete", "rm/paper", "--timeout=60s")
    finally:
        remove_node(land.node, dead)
        land.system.set_environment(NODE_CLEANUP_DEADLINE="120")
    land.delete("paper", 150)  # of a node that is gone, pods go after a minute
    fields = "--field-selector=reason=NodesNotCleaned"
    said = land.node.cluster.run_kubectl("get", "events", fields, "-o", "jsonpath={.items[*].message}").stdout
    assert dead in said
    assert land.node.name not in said


def failed_pulls(land: Land) -> str:
    """What the kubelet has said of pulls that failed."""
    fields = "--field-selector=reason=Failed,involvedObject.kind=Pod"
    return land.node.cluster.run_kubectl("get", "events", fields, "-o", "jsonpath={.items[*].message}").stdout


def test_agents_are_rolled_out_while_pods_pull(land: Land) -> None:
    """No pull fails, and all of them go through the mirror."""
    land.mirror("rolled", land.world)
    image, failed = land.world.push("lib/rolled:1", (2.0,)), failed_pulls(land)
    land.pull(image)
    asked, daemon_set = land.world.count("manifest", method="GET"), "daemonset/registry-mirror-rolled"
    for _ in range(3):
        land.kubectl("rollout", "restart", daemon_set)
        pulls, done = 0, False
        while not done:
            land.pull(image)
            pulls += 1
            done = "successfully rolled out" in land.kubectl("rollout", "status", daemon_set, "--watch=false")
        assert land.counted("rolled") > pulls * 2_000_000
    assert failed_pulls(land) == failed
    assert land.world.count("blob") == 3, asked
    land.delete("rolled")


def test_the_address_of_a_mirror_changes(land: Land) -> None:
    """The hosts entry follows, and pulls go on all along."""
    land.mirror("moved", land.world)
    image, address = land.world.push("lib/moved:1", (2.0,)), land.address("moved")
    land.pull(image)
    land.kubectl("delete", "service", "registry-mirror-moved")
    land.pull(image)
    service = ("get", "service", "registry-mirror-moved", "--ignore-not-found", "-o", "jsonpath={.spec.clusterIP}")
    land.until(lambda: land.kubectl(*service) not in {"", address}, SOON)
    land.until(lambda: entry(land, "moved").split()[:1] == [land.address("moved").encode()], SOON)
    land.wait_ready("moved")
    passed = land.counted("moved")
    land.pull(image)
    assert land.counted("moved") > passed + 2_000_000
    land.delete("moved")


def test_a_mirror_under_the_name_of_its_upstream(land: Land) -> None:
    """Images come through it; from the upstream when it is dead, which then has its name back."""
    before = traces(land.node)
    land.mirror("same", land.world, masqueradeUrl=land.world.host)
    image = land.world.push("lib/same:1", (2.0,))
    land.pull(image)
    assert land.counted("same") > 2_000_000
    with frozen(land.node, *land.caches("same")):
        land.until(lambda: not entry(land, "same"), SOON)
        land.pull(land.world.push("lib/same:2", (2.0,)))
    land.until(lambda: entry(land, "same"), SOON)
    passed = land.counted("same")
    land.pull(image)
    assert land.counted("same") > passed + 2_000_000
    land.delete("same")
    assert changed(land.node, before) == set()


def test_the_hosts_file_is_replaced_by_a_rename(land: Land) -> None:
    """The agent has the old one mounted: it ends, and its successor writes the new one."""
    land.mirror("renamed", land.world)
    written = hosts.parse(land.node.read("/etc/hosts")).foreign
    land.node.write("/etc/hosts.new", written + b"192.0.2.8 new.local.test\n")
    land.node.run("mv", "/etc/hosts.new", "/etc/hosts")
    land.until(lambda: entry(land, "renamed"), 60)
    land.delete("renamed")
    assert land.node.read("/etc/hosts") == written + b"192.0.2.8 new.local.test\n"
    land.node.write("/etc/hosts", written)


def test_an_administrators_own_authority_counts_when_the_mirror_is_down(land: Land) -> None:
    """It stands beside our hosts.toml, which has to carry it along, or nothing but it."""
    path = f"/etc/containerd/certs.d/{land.private.host}/ca.crt"
    authority = land.private.ca_file.read_bytes()
    assert land.node.read(path) == authority
    land.mirror("own", land.private, credentialsSecret=land.credentials(land.private))
    image, login = land.private.push("lib/own:1", (2.0,)), land.login(land.private)
    land.pull(image)
    assert land.counted("own") > 2_000_000
    with land.without_controller():
        land.kubectl("scale", "statefulset", "registry-mirror-own", "--replicas=0")
        land.pull(image, **login)  # by our hosts.toml still, or without
        land.until(lambda: not land.hosts_toml(land.private.host), SOON)
        land.pull(image, **login)
    assert land.node.read(path) == authority
    land.delete("own")
