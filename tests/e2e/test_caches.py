"""Caches that are full, that share their downloads, and that are killed in the middle of a pull."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.localcluster.node.fake_server import processes
from tests.localcluster.node.installed import NAMESPACE
from tests.support.cache_queries import EVICTIONS, RECEIVED

if TYPE_CHECKING:
    from tests.support.testbed import Testbed

PULL = 15.0  # seconds that the pull of some MB and the start of its pod take at most on a machine under load
BODY_CUT = 30.0  # seconds more, where a body was cut off and kubelet has to try again
VOLUME = 60  # megabytes


def test_full_volume_evicts_and_serves(testbed: Testbed) -> None:
    """No pull fails, and each goes through the mirror: the pods have no login at the upstream.

    The images exceed the volume, then one layer does, then other files fill the volume.
    """
    credentials = testbed.credentials(testbed.private)
    (volume,) = testbed.mirror("full", testbed.private, megabytes=VOLUME, credentialsSecret=credentials)
    started, failed = testbed.started("full"), testbed.failed_pulls()
    images = [testbed.private.push(f"lib/full:{number}", (20.0,)) for number in range(4)]
    for image in images:
        testbed.pull(image)
    testbed.until(lambda: testbed.counted("full", EVICTIONS, cause="space") > 0)
    testbed.pull(images[0])
    larger = testbed.private.push("lib/full:larger", (VOLUME + 20.0,))
    testbed.pull(larger)
    testbed.fill(volume, leaving=1_000_000)
    cold = testbed.private.push("lib/full:cold", (20.0,))
    for image in (cold, images[0]):
        testbed.pull(image)
    assert testbed.failed_pulls() == failed
    assert testbed.condition("full", "Ready")["status"] == "True"
    assert testbed.started("full") == started
    testbed.delete("full")


def test_replicas_share_one_download(testbed: Testbed) -> None:
    """The upstream sends each blob once, and afterwards each replica has all of them."""
    testbed.mirror("shared", testbed.world, replicas=2)
    image = testbed.world.push("lib/shared:1", (3.0, 2.0, 1.0, 0.5))
    blobs = 1 + len(testbed.blobs(testbed.world, "lib/shared", "1"))
    caches = testbed.caches("shared")
    for address in caches.values():
        testbed.fetch(address, image)
    assert testbed.world.count("blob", method="GET", part="/lib/shared/") == blobs
    assert testbed.counted("shared", RECEIVED, source="peer") > 0
    testbed.world.stop()
    try:
        for pod, address in caches.items():
            served = testbed.counted_at(address)
            testbed.fetch(address, image)
            assert testbed.counted_at(address) > served + 6_500_000, pod
    finally:
        testbed.world.start()
    testbed.delete("shared")


def test_replica_killed_during_large_pull(testbed: Testbed) -> None:
    """The pull is finished by the other replica, or by the kubelet's next try."""
    testbed.mirror("two", testbed.world, replicas=2)
    image = testbed.world.push("lib/killed:1", (50.0, 50.0, 50.0, 50.0))
    rate = 20_000_000  # bytes a second: 10 s for all of it
    testbed.world.slow(rate)
    began, before = testbed.world.bytes(), testbed.requests("two")
    try:
        pod, started = testbed.start_pull(image), time.monotonic()
        testbed.until(lambda: testbed.world.bytes() > began or testbed.counted("two") > rate, 30)
        serving = testbed.serving_cache("two", before)
        testbed.node.run("kill", "-9", *processes(testbed.node, serving, NAMESPACE))
        testbed.runs(pod, image, 10 + 2 * PULL + BODY_CUT)
    finally:
        testbed.world.slow(None)
    assert time.monotonic() - started < 10 + PULL + BODY_CUT
    testbed.forget(pod, image)
    testbed.delete("two")
