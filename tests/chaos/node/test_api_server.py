"""Test a node whose API server and etcd are killed."""

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


def test_killed_api_server_and_etcd(world: Testbed, chaos: Chaos) -> None:
    """Pulls go on through the mirror, and the node's files stay. Afterwards the status is right."""
    images, cluster = pushed(world, "orphaned"), world.node.cluster
    with pulling(world, images) as pulls:
        pulls.more(len(images))
        files, taken, passed = traces(world.node), world.world.count("blob"), world.counted("world")
        for component in (API_SERVER, ETCD):
            cluster.kill(component)
        began = len(pulls.seconds)
        try:
            world.until(lambda: sum(pulls.seconds[began:]) > AWAY, 3 * AWAY)
            world.world.fault(503)  # no status can be written now
            assert traces(world.node) == files
        finally:
            for component in (ETCD, API_SERVER):
                cluster.start_component(component)
        reported = world.until(lambda: world.condition("world", "UpstreamReachable")["status"] == "False")
        world.world.fault(None)
        recovered = reported + world.until(lambda: world.condition("world", "UpstreamReachable")["status"] == "True")
        world.wait_ready("world")
        during = len(pulls.seconds) - began
    assert pulls.failed == []
    assert world.world.count("blob") == taken
    assert world.counted("world") >= passed + during * LAYER * 1_000_000
    note = f"{during} pulls through the mirror meanwhile"
    fault = f"API server and etcd killed for {AWAY:.0f} s"
    chaos.row(fault, lost=pulls.lost(), condition=reported, recovered=recovered, note=note)
