"""Test the deletion of a mirror with hung or dead agents."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from controller.objects.resources import MIRROR
from tests.localcluster.node.dead_node import add_dead_node, remove_node
from tests.localcluster.node.fake_server import frozen
from tests.localcluster.node.kubelet import KUBELET
from tests.support.components import pods_of, set_pod_ready
from tests.support.traces import agents, changed, traces

if TYPE_CHECKING:
    from tests.support.testbed import Testbed

pytestmark = pytest.mark.usefixtures("no_mirror")

SOON = 30.0  # seconds until the condition names the node; a loaded machine needs most of it


def test_deletion_while_agent_hangs(testbed: Testbed) -> None:
    """The deletion waits for that node, and a condition names it."""
    before = traces(testbed.node)
    testbed.mirror("hangs", testbed.world)
    with frozen(testbed.node, testbed.agent("hangs")):
        testbed.kubectl("delete", "rm", "hangs", "--wait=false")
        testbed.until(lambda: testbed.node.name in testbed.condition("hangs", "NodesConfigured")["message"], SOON)
        assert testbed.condition("hangs", "NodesConfigured")["reason"] == "Cleaning"
        assert testbed.hosts_toml(testbed.world.host)
    testbed.delete("hangs")
    assert changed(testbed.node, before) == set()


def test_deletion_while_agent_is_dead(testbed: Testbed) -> None:
    """The kubelet restarts the agent, which cleans."""
    before = traces(testbed.node)
    testbed.mirror("dead", testbed.world)
    testbed.node.stop_component(KUBELET)
    try:
        testbed.node.run("kill", "-9", *agents(testbed.node, "dead"))
        testbed.kubectl("delete", "rm", "dead", "--wait=false")
        testbed.becomes("dead", "NodesConfigured", "Cleaning")
        assert testbed.hosts_toml(testbed.world.host)
    finally:
        testbed.node.start_component(KUBELET)
    testbed.delete("dead")
    assert changed(testbed.node, before) == set()


def test_deletion_while_a_node_is_dead(testbed: Testbed) -> None:
    """The other node is cleaned at once. At the deadline an Event names the dead one."""
    before = traces(testbed.node)
    testbed.system.set_environment(NODE_CLEANUP_DEADLINE="20")
    testbed.mirror("paper", testbed.world)
    dead = add_dead_node(testbed.node)
    try:
        testbed.until(lambda: testbed.kube.get(MIRROR, "paper")["status"]["nodes"]["desired"] == 2, SOON)
        for pod in pods_of(testbed.kube, "paper", "hostess-certificate"):
            if pod["spec"].get("nodeName") == dead:
                set_pod_ready(testbed.kube, pod, ready=False)  # its agent ran before the node died
        testbed.kubectl("delete", "rm", "paper", "--wait=false")
        testbed.until(lambda: not changed(testbed.node, before), 15)
        testbed.kubectl("wait", "--for=delete", "rm/paper", "--timeout=60s")
        testbed.until(lambda: dead in unclean(testbed), SOON)  # a controller that ends drops the Events in its queue
        assert testbed.node.name not in unclean(testbed)
    finally:
        remove_node(testbed.node, dead)
        testbed.system.set_environment(NODE_CLEANUP_DEADLINE="120")
    testbed.delete("paper")


def unclean(testbed: Testbed) -> str:
    """Return the messages of Events about nodes that are not known to be clean."""
    fields = "--field-selector=reason=NodesNotCleaned"
    return testbed.node.cluster.run_kubectl("get", "events", fields, "-o", "jsonpath={.items[*].message}").stdout
