"""Test faults of an upstream: what pods get and what the conditions report."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.testbed import Testbed

WARM_PULL = 20.0  # seconds
SEEN = 45.0  # seconds until the condition reports what a cache has found; the controller asks every ten


@pytest.fixture(scope="module")
def warm(world: Testbed) -> str:
    """Return an image that the cache has."""
    image = world.world.push("lib/warm:1", (2.0,))
    world.pull(image)
    return image


@pytest.fixture
def upstream(world: Testbed) -> Iterator[Testbed]:
    """Yield the testbed; repair the upstream afterwards. A cache asks an upstream that is away every 30 s."""
    yield world
    world.world.fault(None)
    if world.condition("world", "CredentialsAvailable")["status"] == "False":
        # A refused login is repeated after five minutes only, so that no account is locked.
        world.restart_caches("world", world.world.host)
    world.becomes("world", "UpstreamReachable", "Reachable", 90)
    world.becomes("world", "CredentialsAvailable", "NotRequired", 90)


def reports(testbed: Testbed, fault: int, kind: str, reason: str) -> None:
    """Let the upstream answer with a fault, and wait until condition and Event have the reason."""
    testbed.world.fault(fault)
    testbed.restart_caches("world", testbed.world.host)
    condition = testbed.becomes("world", kind, reason, SEEN)
    assert condition["status"] == "False"
    assert testbed.world.host in condition["message"]
    testbed.until(lambda: reason in testbed.events("world"), 10)
    assert testbed.condition("world", "CacheAvailable")["status"] == "True"


@pytest.mark.parametrize(("fault", "reason"), [(429, "RateLimited"), (503, "ServerError")])
def test_outage_leaves_stored_images(upstream: Testbed, warm: str, fault: int, reason: str) -> None:
    """The cache serves what it has and fails for the rest."""
    cold = upstream.world.push(f"lib/cold:{fault}")
    reports(upstream, fault, "UpstreamReachable", reason)
    assert upstream.pull(warm) < WARM_PULL
    upstream.fails(cold)
    upstream.world.fault(None)
    upstream.pull(cold)


@pytest.mark.parametrize(
    ("fault", "kind", "reason"),
    [
        (401, "CredentialsAvailable", "CredentialsRequired"),
        (403, "UpstreamReachable", "Forbidden"),
        (404, "UpstreamReachable", "NotARegistry"),
    ],
)
def test_refusal_is_passed_on(upstream: Testbed, warm: str, fault: int, kind: str, reason: str) -> None:
    """An upstream may withdraw a tag, so the cache serves stored content by digest only."""
    blob = upstream.blobs(upstream.world, "lib/warm", "1")[-1]
    reports(upstream, fault, kind, reason)
    upstream.fails(warm)
    assert upstream.tag_status("world", "lib/warm", "1") == fault
    assert upstream.serves_blob("world", "lib/warm", blob)
    upstream.world.fault(None)
    upstream.pull(warm)


def test_an_upstream_that_is_down(world: Testbed, warm: str) -> None:
    """A cache that starts meanwhile serves what it has; a node whose image is in the cache pulls it."""
    world.world.stop()
    try:
        assert world.pull(warm) < WARM_PULL
        world.becomes("world", "UpstreamReachable", "ConnectionRefused", SEEN)
        world.kubectl("delete", "pod", "registry-mirror-world-0")
        world.until(lambda: world.condition("world", "CacheAvailable")["status"] == "True", 90)
        world.until(lambda: world.hosts_toml(world.world.host), 30)
        assert world.pull(warm) < WARM_PULL
    finally:
        world.world.start()
    world.becomes("world", "UpstreamReachable", "Reachable", 90)


def test_an_upstream_that_hangs_after_accepting(upstream: Testbed, warm: str) -> None:
    """The cache serves what it has. The condition has the reason; pulls work when the fault ends."""
    cold = upstream.world.push("lib/cold:hang")
    upstream.world.fault("hang")
    assert upstream.pull(warm) < WARM_PULL
    upstream.becomes("world", "UpstreamReachable", "TimedOut", SEEN)
    upstream.world.fault(None)
    upstream.pull(cold, 90)


def test_upstream_that_truncates_layers(upstream: Testbed) -> None:
    """The cache continues where a body was cut: no pull fails, and what is stored is whole."""
    cold = upstream.world.push("lib/cold:truncated", (8.0,))
    failed, taken = upstream.failed_pulls(), upstream.world.count("blob")
    upstream.world.fault("truncate")
    pod = upstream.start_pull(cold)
    upstream.until(lambda: upstream.world.count("blob") > taken + 5)
    upstream.world.fault(None)
    upstream.runs(pod, cold)
    upstream.forget(pod, cold)
    assert upstream.failed_pulls() == failed
    taken = upstream.world.count("blob")
    upstream.pull(cold)
    assert upstream.world.count("blob") == taken
