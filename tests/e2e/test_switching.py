"""Test a mirror that switches to another upstream."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.localcluster.node.upstream import PUBLIC, Upstream

if TYPE_CHECKING:
    from tests.support.testbed import Testbed

FOLLOWED = 120.0  # seconds until both caches use a changed configuration; 10 are usual


def test_switching_upstream_keeps_nothing(testbed: Testbed) -> None:
    """No cache restarts, no pull fails, and no content of one upstream has the name of the other.

    Tags and blobs of the first upstream are gone, and its bytes leave the volumes.
    """
    other = Upstream(testbed.node, "other.local.test", 12, ca=PUBLIC).prepare().start()
    volumes = testbed.mirror("turned", testbed.world, replicas=2, masqueradeUrl="turned.local.test")
    image, next_image = testbed.world.push("lib/turned:1", (5.0,)), other.push("lib/other:1", (2.0,))
    testbed.pull(image)
    blob = testbed.blobs(testbed.world, "lib/turned", "1")[-1]
    assert testbed.serves("turned", "lib/turned", "1", testbed.world.host)
    assert testbed.serves_blob("turned", "lib/turned", blob)
    assert sum(map(testbed.size, volumes)) > 5_000_000
    started, failed = testbed.started("turned"), testbed.failed_pulls()
    testbed.change("turned", upstreamUrl=other.host)
    testbed.pull(next_image)

    def switched() -> bool:
        assert not testbed.serves("turned", "lib/turned", "1", other.host), testbed.describe("turned")
        return bool(testbed.condition("turned", "Ready")["status"] == "True")

    testbed.until(switched, FOLLOWED)
    testbed.until(lambda: testbed.hosts_toml(other.host) and not testbed.hosts_toml(testbed.world.host), 60)
    testbed.until(lambda: testbed.serves("turned", "lib/other", "1", other.host), FOLLOWED)
    for host in ("", testbed.world.host):
        testbed.until(lambda host=host: not testbed.serves("turned", "lib/turned", "1", host), FOLLOWED)  # type: ignore[misc]
    assert not testbed.serves_blob("turned", "lib/turned", blob)
    testbed.until(lambda: sum(map(testbed.size, volumes)) < 5_000_000, FOLLOWED)
    passed = testbed.counted("turned")
    testbed.pull(next_image)
    assert testbed.counted("turned") > passed + 2_000_000
    assert testbed.started("turned") == started
    assert testbed.failed_pulls() == failed
    testbed.delete("turned")
    other.stop()
