"""Caches that come to an end in the middle of their work: of their volume, of their lives."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.localcluster.node.fake_server import processes
from tests.localcluster.node.installed import NAMESPACE

if TYPE_CHECKING:
    from tests.support.land import Land

PULL = 15.0  # seconds that the pull of some MB and the start of its pod take at most on a machine under load
BODY_CUT = 30.0  # seconds more, where a body was cut off and kubelet has to try again


def test_a_cache_whose_volume_is_full_leaves_its_service(land: Land) -> None:
    """Images come from the upstream then, by the administrator's own CA and the pod's own login."""
    login = land.login(land.private)
    (volume,) = land.mirror("full", land.private, megabytes=60, credentialsSecret=land.credentials(land.private))
    warm = land.private.push("lib/warm:1", (2.0,))
    land.pull(warm, **login)
    land.fill(volume, leaving=10_000_000)
    large = land.private.push("lib/large:1", (20.0,))
    land.private.slow(1_000_000)  # bytes a second: as long as a large volume takes at a network's rate
    pod, began = land.start_pull(large, **login), time.monotonic()
    land.until(lambda: land.waits(pod), 60)
    land.private.slow(None)
    said = land.becomes("full", "CacheAvailable", "NoReplicaReady")
    assert said["status"] == "False"
    land.runs(pod, large)
    assert time.monotonic() - began < 20 + PULL + BODY_CUT
    land.forget(pod, large)
    land.until(lambda: not land.hosts_toml(land.private.host), 15)
    assert land.pull(warm, **login) < PULL
    land.delete("full")


def test_one_of_two_replicas_is_killed_in_the_middle_of_a_large_pull(land: Land) -> None:
    """The pull is finished by the other replica, or by the kubelet's next try."""
    land.mirror("two", land.world, replicas=2)
    image = land.world.push("lib/killed:1", (50.0, 50.0, 50.0, 50.0))
    rate = 20_000_000  # bytes a second: 10 s for all of it
    land.world.slow(rate)
    began = land.world.bytes()
    try:
        pod, started = land.start_pull(image), time.monotonic()
        land.until(lambda: land.world.bytes() > began or land.counted("two") > rate, 30)
        caches = land.caches("two")
        serving = max(caches, key=lambda name: land.counted_at(caches[name], "requests"))
        land.node.run("kill", "-9", *processes(land.node, serving, NAMESPACE))
        land.runs(pod, image, 10 + 2 * PULL + BODY_CUT)
    finally:
        land.world.slow(None)
    assert time.monotonic() - started < 10 + PULL + BODY_CUT
    land.forget(pod, image)
    land.delete("two")
