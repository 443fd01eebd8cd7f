"""Two mirrors on a node, and mirrors whose names or files meet those of others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.localcluster.node.fake_server import frozen
from tests.support.traces import changed, entry, traces

if TYPE_CHECKING:
    from tests.support.land import Land

pytestmark = pytest.mark.usefixtures("no_mirror")

SOON = 30.0  # seconds in which an agent follows what is changed; it needs 2


def points_at(land: Land, host: str) -> bytes:
    """The hosts.toml of an image host, empty where there is none."""
    path = f"/etc/containerd/certs.d/{host}/hosts.toml"
    return land.node.sandbox.run(["cat", path], check=False).stdout


def test_two_mirrors_of_two_upstreams(land: Land) -> None:
    """Each has its images; when one goes the other stays as it is."""
    before = traces(land.node)
    land.apply_mirror("one", land.world.host)
    land.mirror("two", land.private, credentialsSecret=land.credentials(land.private))
    land.wait_ready("one")
    images = {"one": land.world.push("lib/two:1", (2.0,)), "two": land.private.push("lib/two:1", (2.0,))}
    for name, image in images.items():
        land.pull(image)
        assert land.counted(name) > 2_000_000
    land.delete("one")
    assert not land.hosts_toml(land.world.host)
    land.pull(images["two"])
    assert land.counted("two") > 4_000_000
    land.pull(images["one"])
    land.delete("two")
    assert changed(land.node, before) == set()


def test_two_mirrors_of_one_upstream(land: Land) -> None:
    """The older one's hosts.toml stands; the younger is reached by its own name, and takes over in the end."""
    before = traces(land.node)
    land.mirror("older", land.world)
    land.mirror("younger", land.world, masqueradeUrl="younger.local.test")
    assert "older" in land.condition("younger", "NodesConfigured")["message"]
    image = land.world.push("lib/both:1", (2.0,))
    land.pull(image)
    assert (land.counted("older") > 2_000_000, land.counted("younger")) == (True, 0)
    assert entry(land.node, "younger").split() == [land.address("younger").encode(), b"younger.local.test"]
    land.delete("older")
    land.until(lambda: b"younger.local.test" in points_at(land, land.world.host), SOON)
    land.pull(image)
    assert land.counted("younger") > 2_000_000
    land.delete("younger")
    assert changed(land.node, before) == set()


def test_a_mirror_under_the_name_of_its_upstream(land: Land) -> None:
    """Images come through it; from the upstream when it is dead, which then has its name back."""
    before = traces(land.node)
    land.mirror("same", land.world, masqueradeUrl=land.world.host)
    image = land.world.push("lib/same:1", (2.0,))
    land.pull(image)
    assert land.counted("same") > 2_000_000
    with frozen(land.node, *land.caches("same")):
        land.until(lambda: not entry(land.node, "same"), SOON)
        land.pull(land.world.push("lib/same:2", (2.0,)))
    land.until(lambda: entry(land.node, "same"), SOON)
    passed = land.counted("same")
    land.pull(image)
    assert land.counted("same") > passed + 2_000_000
    land.delete("same")
    assert changed(land.node, before) == set()


def test_an_administrators_own_authority_counts_when_the_mirror_is_down(land: Land) -> None:
    """It stands beside our hosts.toml, which has to carry it along, or nothing but it."""
    path = f"/etc/containerd/certs.d/{land.private.host}/ca.crt"
    authority = land.private.ca_file.read_bytes()
    assert land.node.read(path) == authority
    land.mirror("own", land.private, credentialsSecret=land.credentials(land.private))
    image, login = land.private.push("lib/own:1", (2.0,)), land.login(land.private)
    land.pull(image)
    assert land.counted("own") > 2_000_000
    with land.without_controller():
        land.kubectl("scale", "statefulset", "registry-mirror-own", "--replicas=0")
        land.pull(image, **login)  # by our hosts.toml still, or without
        land.until(lambda: not land.hosts_toml(land.private.host), SOON)
        land.pull(image, **login)
    assert land.node.read(path) == authority
    land.delete("own")
