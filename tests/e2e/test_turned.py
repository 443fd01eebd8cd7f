"""Test a mirror that switches to another upstream."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.localcluster.node.upstream import PUBLIC, Upstream

if TYPE_CHECKING:
    from tests.support.testbed import Testbed


def test_switching_upstream_keeps_nothing(testbed: Testbed) -> None:
    """Tags and blobs of the first upstream are gone, and its bytes leave the volumes.

    The mirror keeps its name during the rollout: no pod serves the wrong upstream.
    """
    other = Upstream(testbed.node, "other.local.test", 12, ca=PUBLIC).prepare().start()
    volumes = testbed.mirror("turned", testbed.world, replicas=2, masqueradeUrl="turned.local.test")
    image = testbed.world.push("lib/turned:1", (5.0,))
    testbed.pull(image)
    blob = testbed.blobs(testbed.world, "lib/turned", "1")[-1]
    assert testbed.serves("turned", "lib/turned", "1")
    assert testbed.serves_blob("turned", "lib/turned", blob)
    assert sum(map(testbed.size, volumes)) > 5_000_000
    testbed.change("turned", upstreamUrl=other.host)
    served_wrongly = []

    def turned() -> bool:
        if testbed.hosts_toml(other.host) and testbed.serves("turned", "lib/turned", "1"):
            served_wrongly.append(testbed.describe("turned"))
        return bool(testbed.condition("turned", "Ready")["status"] == "True")

    testbed.until(turned, 120)
    assert not served_wrongly, served_wrongly[0]
    testbed.until(lambda: testbed.hosts_toml(other.host) and not testbed.hosts_toml(testbed.world.host), 60)
    assert not testbed.serves("turned", "lib/turned", "1")
    assert not testbed.serves_blob("turned", "lib/turned", blob)
    testbed.until(lambda: sum(map(testbed.size, volumes)) < 5_000_000, 60)
    testbed.pull(other.push("lib/other:1", (2.0,)))
    assert testbed.counted("turned") > 2_000_000
    testbed.delete("turned")
    other.stop()
