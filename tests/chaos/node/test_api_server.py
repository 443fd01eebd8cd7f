"""The API server and etcd are killed under a node that works."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.localcluster.commands import API_SERVER, ETCD
from tests.support.pulling import LAYER, pulling, pushed
from tests.support.traces import traces

if TYPE_CHECKING:
    from tests.support.chaos import Chaos
    from tests.support.testbed import Testbed

# Seconds without an API server: longer than the controller's lease of 15.
AWAY = 20.0


def test_api_server_and_etcd_are_killed_while_the_node_pulls(world: Testbed, chaos: Chaos) -> None:
    """Pulls go on through the mirror, the node's files stay; afterwards status tells the truth of then."""
    images, cluster = pushed(world, "orphaned"), world.node.cluster
    with pulling(world, images) as pulls:
        pulls.more(len(images))
        files, taken, passed = traces(world.node), world.world.count("blob"), world.counted("world")
        for component in (API_SERVER, ETCD):
            cluster.kill(component)
        began = len(pulls.seconds)
        try:
            world.until(lambda: sum(pulls.seconds[began:]) > AWAY, 3 * AWAY)
            world.world.fault(503)  # what nobody can be told of now
            assert traces(world.node) == files
        finally:
            for component in (ETCD, API_SERVER):
                cluster.start_component(component)
        told = world.until(lambda: world.condition("world", "UpstreamReachable")["status"] == "False")
        world.world.fault(None)
        recovered = told + world.until(lambda: world.condition("world", "UpstreamReachable")["status"] == "True")
        world.wait_ready("world")
        during = len(pulls.seconds) - began
    assert pulls.failed == []
    assert world.world.count("blob") == taken
    assert world.counted("world") >= passed + during * LAYER * 1_000_000
    note = f"{during} pulls through the mirror meanwhile"
    fault = f"API server and etcd killed for {AWAY:.0f} s"
    chaos.row(fault, lost=pulls.lost(), condition=told, recovered=recovered, note=note)
