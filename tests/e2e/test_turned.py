"""A mirror that is turned from one upstream to another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.localcluster.node.upstream import PUBLIC, Upstream

if TYPE_CHECKING:
    from tests.support.land import Land


def test_nothing_of_the_first_upstream_is_served_or_kept_after_the_turn(land: Land) -> None:
    """By tag and by blob; what the second one has is, and the first one's bytes leave the volumes.

    The mirror keeps its name, and its pods are rolled one by one: none answers for the wrong upstream meanwhile.
    """
    other = Upstream(land.node, "other.local.test", 12, ca=PUBLIC).prepare().start()
    volumes = land.mirror("turned", land.world, replicas=2, masqueradeUrl="turned.local.test")
    image = land.world.push("lib/turned:1", (5.0,))
    land.pull(image)
    blob = land.blobs(land.world, "lib/turned", "1")[-1]
    assert land.serves("turned", "lib/turned", "1")
    assert land.serves_blob("turned", "lib/turned", blob)
    assert sum(map(land.size, volumes)) > 5_000_000
    land.change("turned", upstreamUrl=other.host)
    served_wrongly = []

    def turned() -> bool:
        if land.hosts_toml(other.host) and land.serves("turned", "lib/turned", "1"):
            served_wrongly.append(land.told("turned"))
        return bool(land.condition("turned", "Ready")["status"] == "True")

    land.until(turned, 120)
    assert not served_wrongly, served_wrongly[0]
    land.until(lambda: land.hosts_toml(other.host) and not land.hosts_toml(land.world.host), 60)
    assert not land.serves("turned", "lib/turned", "1")
    assert not land.serves_blob("turned", "lib/turned", blob)
    land.until(lambda: sum(map(land.size, volumes)) < 5_000_000, 60)
    land.pull(other.push("lib/other:1", (2.0,)))
    assert land.counted("turned") > 2_000_000
    land.delete("turned")
    other.stop()
