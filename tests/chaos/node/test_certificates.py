"""Certificates of the mirrors change under pulls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.kinds import MIRROR, SECRET
from deploy.local.node.runtime import ONE_ROOT
from tests.support.kube import text
from tests.support.pulling import pulling, pushed
from tests.support.serving import issued, served

if TYPE_CHECKING:
    from tests.support.chaos import Chaos
    from tests.support.land import Land

REPLICAS = 2
OURS = "registry-mirror-world"
# Seconds until two pods, one after the other, have a new certificate, and the kubelet has brought the agent its CA.
ROLLED = 180.0


def test_the_authority_of_the_mirrors_is_deleted_under_pulls(world: Land, chaos: Chaos) -> None:
    """All that it has signed is replaced, each cache restarts for it, and no pull fails."""
    images, before = pushed(world, "rotated"), issued(world, OURS)
    with pulling(world, images) as pulls:
        pulls.more(len(images))
        world.kubectl("delete", "secret", "registrymirror-ca")
        issuing = world.until(lambda: issued(world, OURS) != before, ROLLED)
        recovered = issuing + world.until(lambda: rolled(world), ROLLED)
        passed = world.counted("world")
        world.until(lambda: world.counted("world") > passed)
    assert pulls.failed == []
    chaos.row("mirrors' authority deleted under pulls", recovered=recovered, note=f"{len(pulls.seconds)} pulls")


def rolled(land: Land) -> bool:
    """Whether both caches serve what the controller has issued, the node trusts it, and both are used."""
    caches = land.caches("world").values()
    is_served = land.ready_caches("world") == REPLICAS and served(land, caches, 5000) == {issued(land, OURS)}
    return is_served and trusted(land) == text(land.kube.get(SECRET, OURS), "ca.crt") and well(land)


def trusted(land: Land) -> str:
    """The authority that the node's runtime trusts the mirror by."""
    masquerade = land.kube.get(MIRROR, "world")["status"]["masqueradeUrl"]
    return land.node.read(f"{ONE_ROOT}/{masquerade}/{OURS}.crt").decode()


def well(land: Land) -> bool:
    """Whether the mirror is Ready and the node points at it."""
    return land.condition("world", "Ready")["status"] == "True" and land.hosts_toml(land.world.host)
