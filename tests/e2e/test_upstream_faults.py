"""Test faults of an upstream: what pods get and what the conditions report.

The registry answers 404 for nearly all of them; only the controller's probe sees the reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.testbed import Testbed

WARM_PULL = 20.0  # seconds
SEEN = 45.0  # seconds until the controller, which probes every five, reports it


@pytest.fixture(scope="module")
def warm(world: Testbed) -> str:
    """Return an image that the cache has."""
    image = world.world.push("lib/warm:1", (2.0,))
    world.pull(image)
    return image


@pytest.fixture
def upstream(world: Testbed) -> Iterator[Testbed]:
    """Yield the testbed; repair the upstream afterwards."""
    yield world
    world.world.fault(None)
    world.becomes("world", "UpstreamReachable", "Reachable", 90)
    world.becomes("world", "CredentialsAvailable", "NotRequired", 90)


@pytest.mark.parametrize(
    ("fault", "kind", "reason"),
    [
        (401, "CredentialsAvailable", "CredentialsRequired"),
        (403, "UpstreamReachable", "Forbidden"),
        (404, "UpstreamReachable", "NotARegistry"),
        (429, "UpstreamReachable", "RateLimited"),
        (503, "UpstreamReachable", "ServerError"),
    ],
)
def test_an_upstream_that_refuses(upstream: Testbed, warm: str, fault: int, kind: str, reason: str) -> None:
    """The cache serves what it has and fails for the rest. Condition and Event have the reason."""
    cold = upstream.world.push(f"lib/cold:{fault}")
    upstream.world.fault(fault)
    condition = upstream.becomes("world", kind, reason, SEEN)
    assert condition["status"] == "False"
    assert upstream.world.host in condition["message"]
    upstream.until(lambda: reason in upstream.events("world"), 10)
    assert upstream.pull(warm) < WARM_PULL
    assert upstream.condition("world", "CacheAvailable")["status"] == "True"
    upstream.fails(cold)
    upstream.world.fault(None)
    upstream.pull(cold)


def test_an_upstream_that_is_down(world: Testbed, warm: str) -> None:
    """A cache that starts meanwhile serves what it has; a node whose image is in the cache pulls it."""
    world.world.stop()
    try:
        world.becomes("world", "UpstreamReachable", "ConnectionRefused", SEEN)
        assert world.pull(warm) < WARM_PULL
        world.kubectl("delete", "pod", "registry-mirror-world-0")
        world.until(lambda: world.condition("world", "CacheAvailable")["status"] == "True", 90)
        world.until(lambda: world.hosts_toml(world.world.host), 30)
        assert world.pull(warm) < WARM_PULL
    finally:
        world.world.start()
    world.becomes("world", "UpstreamReachable", "Reachable", 90)


def test_an_upstream_that_hangs_after_accepting(upstream: Testbed) -> None:
    """The condition has the reason; pulls work when the fault ends."""
    cold = upstream.world.push("lib/cold:hang")
    upstream.world.fault("hang")
    upstream.becomes("world", "UpstreamReachable", "TimedOut", SEEN)
    upstream.world.fault(None)
    upstream.pull(cold, 90)


def test_upstream_that_truncates_layers(upstream: Testbed) -> None:
    """Nothing broken is kept: the pull fails meanwhile, and is whole afterwards, from the cache too."""
    cold = upstream.world.push("lib/cold:truncated", (8.0,))
    upstream.world.fault("truncate")
    pod = upstream.start_pull(cold)
    upstream.until(lambda: upstream.pull_error(pod), 60)
    upstream.world.fault(None)
    upstream.runs(pod, cold, 60)
    upstream.forget(pod, cold)
    taken = upstream.world.count("blob")
    upstream.pull(cold)
    assert upstream.world.count("blob") == taken
