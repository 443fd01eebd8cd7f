"""Caches that come to an end in the middle of their work: of their volume, of their lives."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.localcluster.node.fake_server import processes
from tests.localcluster.node.installed import NAMESPACE

if TYPE_CHECKING:
    from tests.support.testbed import Testbed

PULL = 15.0  # seconds that the pull of some MB and the start of its pod take at most on a machine under load
BODY_CUT = 30.0  # seconds more, where a body was cut off and kubelet has to try again


def test_cache_with_full_volume_leaves_service(testbed: Testbed) -> None:
    """Images come from the upstream then, by the administrator's own CA and the pod's own login."""
    login = testbed.login(testbed.private)
    (volume,) = testbed.mirror(
        "full", testbed.private, megabytes=60, credentialsSecret=testbed.credentials(testbed.private)
    )
    warm = testbed.private.push("lib/warm:1", (2.0,))
    testbed.pull(warm, **login)
    testbed.fill(volume, leaving=10_000_000)
    large = testbed.private.push("lib/large:1", (20.0,))
    testbed.private.slow(1_000_000)  # bytes a second: as long as a large volume takes at a network's rate
    pod, began = testbed.start_pull(large, **login), time.monotonic()
    testbed.until(lambda: testbed.pull_error(pod), 60)
    testbed.private.slow(None)
    condition = testbed.becomes("full", "CacheAvailable", "NoReplicaReady")
    assert condition["status"] == "False"
    testbed.runs(pod, large)
    assert time.monotonic() - began < 20 + PULL + BODY_CUT
    testbed.forget(pod, large)
    testbed.until(lambda: not testbed.hosts_toml(testbed.private.host), 15)
    assert testbed.pull(warm, **login) < PULL
    testbed.delete("full")


def test_replica_killed_during_large_pull(testbed: Testbed) -> None:
    """The pull is finished by the other replica, or by the kubelet's next try."""
    testbed.mirror("two", testbed.world, replicas=2)
    image = testbed.world.push("lib/killed:1", (50.0, 50.0, 50.0, 50.0))
    rate = 20_000_000  # bytes a second: 10 s for all of it
    testbed.world.slow(rate)
    began = testbed.world.bytes()
    try:
        pod, started = testbed.start_pull(image), time.monotonic()
        testbed.until(lambda: testbed.world.bytes() > began or testbed.counted("two") > rate, 30)
        caches = testbed.caches("two")
        serving = max(caches, key=lambda name: testbed.counted_at(caches[name], "requests"))
        testbed.node.run("kill", "-9", *processes(testbed.node, serving, NAMESPACE))
        testbed.runs(pod, image, 10 + 2 * PULL + BODY_CUT)
    finally:
        testbed.world.slow(None)
    assert time.monotonic() - started < 10 + PULL + BODY_CUT
    testbed.forget(pod, image)
    testbed.delete("two")
