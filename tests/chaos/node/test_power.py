"""Test a power cut: only the disks of the node survive."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from hostess.hostsfile import hosts_block
from tests.support.pulling import pulling, pushed
from tests.support.traces import add_foreign, entry, traces

if TYPE_CHECKING:
    from tests.support.chaos import Chaos
    from tests.support.testbed import Testbed

PATIENCE = 180.0  # seconds until all pods of the node run; 40 are usual
THEIRS = "/etc/containerd/certs.d/elsewhere.local.test/hosts.toml"


def test_power_cut(world: Testbed, chaos: Chaos) -> None:
    """Pods, entry, hosts.toml, foreign lines and stored images are as before. Early pulls use the upstream."""
    node, early, images = world.node, pushed(world, "early", 1)[0], pushed(world, "late")
    for address, image in itertools.product(world.caches("world").values(), images):
        world.fetch(address, image)
    node.write(THEIRS, 'server = "https://elsewhere.local.test"\n')
    given = node.read("/etc/hosts")
    foreign = add_foreign(node, b"192.0.2.7\tforeign.local.test\n# latin-1: \xe9\n")
    # A loaded machine may have let the agent withdraw the mirror a moment ago.
    world.until(lambda: world.hosts_toml(world.world.host))
    files, mirrored = on_disk(world), entry(node, "world")
    # The API server stops with this node, so that the controller does not repair the replicas before.
    world.kubectl("scale", "statefulset", "registry-mirror-world", "--replicas=0")
    pod = world.start_pull(early)  # it does not finish before the power cut
    node.cut_power()
    node.boot()
    for upstream in (world.world, world.hub, world.private):
        upstream.start()
    up = world.until(lambda: world.running(pod), PATIENCE)
    world.runs(pod, early)
    recovered = up + world.until(lambda: world.ready_caches("world") == 2, PATIENCE)
    world.wait_ready("world")
    world.until(lambda: world.hosts_toml(world.world.host))
    assert entry(node, "world") == mirrored
    assert hosts_block.parse(node.read("/etc/hosts")).foreign == foreign
    assert on_disk(world) == files
    passed, taken = world.counted("world"), world.world.count("blob")
    with pulling(world, images) as pulls:
        pulls.more(len(images))
    assert pulls.failed == []
    assert world.counted("world") > passed
    assert world.world.count("blob") == taken
    world.forget(pod, early)
    node.write("/etc/hosts", given)
    node.run("rm", "-r", THEIRS.rpartition("/")[0])
    chaos.row(
        "power cut of the node",
        lost=pulls.lost(),
        recovered=recovered,
        note=f"a pod whose image was not there ran after {up:.1f} s",
    )


def on_disk(testbed: Testbed) -> set[str]:
    """Return all traces except the link for runtimes of unknown version."""
    return {line for line in traces(testbed.node) if "certs.d:" not in line}
