"""A mirror is deleted while its agents hang, are dead, or never were."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from controller.objects.resources import MIRROR
from tests.localcluster.node.dead_node import add_dead_node, remove_node
from tests.localcluster.node.fake_server import frozen
from tests.localcluster.node.kubelet import KUBELET
from tests.support.traces import agents, changed, traces

if TYPE_CHECKING:
    from tests.support.land import Land

pytestmark = pytest.mark.usefixtures("no_mirror")

SOON = 30.0  # seconds in which the controller tells what it waits for, on a machine under load


def test_deletion_while_agent_hangs(land: Land) -> None:
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


def test_deletion_while_agent_is_dead(land: Land) -> None:
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


def test_deletion_while_a_node_is_dead(land: Land) -> None:
    """The other is cleaned at once; at the deadline the mirror goes, and an Event names the dead one."""
    before = traces(land.node)
    land.system.set_environment(NODE_CLEANUP_DEADLINE="20")
    land.mirror("paper", land.world)
    dead = add_dead_node(land.node)
    try:
        land.until(lambda: land.kube.get(MIRROR, "paper")["status"]["nodes"]["desired"] == 2, SOON)
        land.kubectl("delete", "rm", "paper", "--wait=false")
        land.until(lambda: not changed(land.node, before), 15)
        land.kubectl("wait", "--for=delete", "rm/paper", "--timeout=60s")
    finally:
        remove_node(land.node, dead)
        land.system.set_environment(NODE_CLEANUP_DEADLINE="120")
    land.delete("paper")
    fields = "--field-selector=reason=NodesNotCleaned"
    said = land.node.cluster.run_kubectl("get", "events", fields, "-o", "jsonpath={.items[*].message}").stdout
    assert dead in said
    assert land.node.name not in said
