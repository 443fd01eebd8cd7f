"""Change the certificates of mirrors under pulls."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from common import names
from controller.objects.resources import MIRROR
from tests.localcluster.node.installed import NAMESPACE
from tests.support.certificates import Issuer
from tests.support.pulling import pulling, pushed
from tests.support.serving import issued, served, to_be_trusted, trusted

if TYPE_CHECKING:
    from tests.support.chaos import Chaos
    from tests.support.testbed import Testbed

REPLICAS = 2
BLOBS = 4  # of an image: configuration, busybox, marker and its layer
OURS = "registry-mirror-world"
GIVEN = "given-certificate"
TWO_YEARS = 730.0  # days
# Seconds until both caches and the agent use another certificate and CA.
FOLLOWED = 180.0


def test_ca_deleted_under_pulls(world: Testbed, chaos: Chaos) -> None:
    """All certificates are replaced without a restart, no pull fails, and most pulls use a cache.

    A node that does not trust the new CA yet asks the upstream for three blobs of each pull: configuration, marker and
    layer.
    """
    images, before, started = pushed(world, "rotated"), issued(world, OURS), world.started("world")
    with pulling(world, images) as pulls:
        pulls.more(len(images))
        began, asked = len(pulls.seconds), world.world.count("blob", method="GET")
        world.kubectl("delete", "secret", "registrymirror-ca")
        issuing = world.until(lambda: issued(world, OURS) != before, FOLLOWED)
        recovered = issuing + world.until(lambda: renewed(world), FOLLOWED)
        passed = world.counted("world")
        world.until(lambda: world.counted("world") > passed)
        during, asked = len(pulls.seconds) - began, world.world.count("blob", method="GET") - asked
    assert pulls.failed == []
    assert world.started("world") == started
    # Less than half of the pulls, and what the caches fetch once.
    assert asked < during * (BLOBS - 1) / 2 + BLOBS * len(images)
    note = f"{during} pulls, for which the upstream was asked for {asked} blobs"
    chaos.row("mirrors' CA deleted under pulls", lost=pulls.lost(), recovered=recovered, note=note)


def test_node_clock_two_years_off(world: Testbed, chaos: Chaos) -> None:
    """The certificates are not yet valid, or expired: the status reports it, and no pull fails.

    The certificates differ and not the clock, as namespaces have no clock.
    """
    images, ca = pushed(world, "clocks"), Issuer("an administrator's")
    masquerade = world.kube.get(MIRROR, "world")["status"]["masqueradeUrl"]

    def given(first: float) -> float:
        serving = ca.issue((first, first + 100), hosts=(masquerade, *names.service_hosts("world", NAMESPACE)))
        files = {"tls.crt": serving.certificate, "tls.key": serving.key, "ca.crt": ca.certificate}
        world.secret(GIVEN, **{name: content.decode() for name, content in files.items()})
        return time.monotonic()

    def seconds_until(word: str) -> float:
        world.until(lambda: word in world.condition("world", "NodesConfigured")["message"], FOLLOWED)
        assert not world.hosts_toml(world.world.host)
        return time.monotonic()

    with pulling(world, images) as pulls:
        began = given(TWO_YEARS)
        world.system.set_environment(DOCKER_CERTIFICATE_SECRET=GIVEN)
        early = seconds_until("not yet valid") - began
        began = given(-TWO_YEARS)
        late = seconds_until("expired") - began
        assert world.condition("world", "CertificateValid")["reason"] == "Expired"
        pulls.more(len(images))
        world.system.set_environment(DOCKER_CERTIFICATE_SECRET="")
        recovered = world.until(lambda: renewed(world), FOLLOWED)
    assert pulls.failed == []
    world.kubectl("delete", "secret", GIVEN)
    chaos.row("certificate not valid yet (a node's clock two years behind)", lost=pulls.lost(), condition=early)
    chaos.row(
        "certificate expired (a node's clock two years ahead)", lost=pulls.lost(), condition=late, recovered=recovered
    )


def renewed(testbed: Testbed) -> bool:
    """Return True if both caches serve the issued certificate, and the node trusts and uses them."""
    caches = testbed.caches("world").values()
    is_served = testbed.ready_caches("world") == REPLICAS and served(testbed.node, caches, 5000) == {
        issued(testbed, OURS)
    }
    return is_served and trusted(testbed, "world") == to_be_trusted(testbed, "world") and well(testbed)


def well(testbed: Testbed) -> bool:
    """Return True if the mirror is Ready and the node uses it."""
    return testbed.condition("world", "Ready")["status"] == "True" and testbed.hosts_toml(testbed.world.host)
