"""Test caches that die or fill up while pods start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.localcluster.node.fake_server import processes
from tests.localcluster.node.installed import NAMESPACE

if TYPE_CHECKING:
    from tests.support.chaos import Chaos
    from tests.support.testbed import Testbed

PULL = 15.0  # seconds of a pull of some MB and the start of its pod on a loaded machine
BODY_CUT = 30.0  # seconds more for a retry of the kubelet after a cut body
RATE = 5_000_000  # bytes a second from the upstream, so that a pull of SIZE takes two
SIZE = 10.0  # megabytes


def test_cache_killed_in_each_pull(world: Testbed, chaos: Chaos) -> None:
    """Each pod starts, by the other replica, the upstream, or a retry of the kubelet."""
    images = [world.world.push(f"lib/victim:{number}", (SIZE,)) for number in range(3)]
    took = []
    world.world.slow(RATE)
    try:
        for image in images:
            before, requests = world.world.bytes(), world.requests("world")
            pod = world.start_pull(image)
            world.until(lambda: world.world.bytes() > before, PULL)  # noqa: B023
            serving = world.serving_cache("world", requests)
            world.node.run("kill", "-9", *processes(world.node, serving, NAMESPACE))
            took.append(world.until(lambda: world.running(pod), PULL + BODY_CUT))  # noqa: B023
            world.runs(pod, image)
            world.forget(pod, image)
    finally:
        world.world.slow(None)
    recovered = world.until(lambda: world.ready_caches("world") == 2, 90)
    world.wait_ready("world")
    chaos.row(
        "cache killed in a pull, three times",
        lost=f"0 of {len(took)} pods",
        recovered=recovered,
        note=f"pods ran after {max(took):.1f} s",
    )


def test_full_cache_volumes(testbed: Testbed, chaos: Chaos) -> None:
    """Both caches go on serving, also what they cannot store. The pods have no login at the upstream."""
    credentials = testbed.credentials(testbed.private)
    volumes = testbed.mirror("full", testbed.private, megabytes=60, replicas=2, credentialsSecret=credentials)
    started, failed = testbed.started("full"), testbed.failed_pulls()
    warm, cold = (testbed.private.push(f"lib/full:{each}", (2.0,)) for each in ("warm", "cold"))
    testbed.pull(warm)
    for volume in volumes:
        testbed.fill(volume, leaving=1_000_000)
    took = [testbed.pull(image) for image in (warm, cold, warm, cold)]
    assert testbed.failed_pulls() == failed
    assert testbed.condition("full", "Ready")["status"] == "True"
    assert testbed.started("full") == started
    testbed.delete("full")
    chaos.row("volumes of both caches full", lost=f"0 of {len(took)} pods", note=f"pods ran after {max(took):.1f} s")
