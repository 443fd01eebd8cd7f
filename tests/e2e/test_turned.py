"""A mirror that is turned from one upstream to another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploy.local.node.upstream import PUBLIC, Upstream

if TYPE_CHECKING:
    from tests.support.land import Land


def test_nothing_of_the_first_upstream_is_served_or_kept_after_the_turn(land: Land) -> None:
    """By tag and by blob; what the second one has is, and the first one's bytes leave the volume."""
    other = Upstream(land.node, "other.local.test", 12, authority=PUBLIC).prepare().start()
    (volume,) = land.mirror("turned", land.world)
    image = land.world.push("lib/turned:1", (5.0,))
    land.pull(image)
    blob = land.blobs(land.world, "lib/turned", "1")[-1]
    assert land.serves("turned", "lib/turned", "1")
    assert land.serves_blob("turned", "lib/turned", blob)
    assert land.size(volume) > 5_000_000
    land.change("turned", upstreamUrl=other.host)
    land.wait_ready("turned")
    land.until(lambda: land.hosts_toml(other.host) and not land.hosts_toml(land.world.host), 60)
    assert not land.serves("turned", "lib/turned", "1")
    assert not land.serves_blob("turned", "lib/turned", blob)
    land.until(lambda: land.size(volume) < 5_000_000, 60)
    land.pull(other.push("lib/other:1", (2.0,)))
    assert land.counted("turned") > 2_000_000
    land.delete("turned")
    other.stop()
