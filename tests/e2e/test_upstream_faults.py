"""An upstream that is down, refuses, hangs or breaks off: what pods get, and what the administrator is told.

The registry itself answers 404 to nearly all of it, so that only the controller's own question tells the truth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.testbed import Testbed

WARM_PULL = 20.0  # seconds
SEEN = 45.0  # seconds until the controller, which asks every five, has said so twice over


@pytest.fixture(scope="module")
def warm(world: Testbed) -> str:
    """An image that the cache has."""
    image = world.world.push("lib/warm:1", (2.0,))
    world.pull(image)
    return image


@pytest.fixture
def upstream(world: Testbed) -> Iterator[Testbed]:
    """The testbed, whose upstream is well again afterwards."""
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
    """What the cache has is served; what it has not fails, as without a mirror; condition and Event say why."""
    cold = upstream.world.push(f"lib/cold:{fault}")
    upstream.world.fault(fault)
    said = upstream.becomes("world", kind, reason, SEEN)
    assert said["status"] == "False"
    assert upstream.world.host in said["message"]
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
    """It is told as what it is; new images come again as soon as it answers."""
    cold = upstream.world.push("lib/cold:hang")
    upstream.world.fault("hang")
    upstream.becomes("world", "UpstreamReachable", "TimedOut", SEEN)
    upstream.world.fault(None)
    upstream.pull(cold, 90)


def test_an_upstream_that_breaks_off_in_the_middle_of_a_layer(upstream: Testbed) -> None:
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
