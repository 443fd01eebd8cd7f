"""Test two mirrors on a node, and mirrors with conflicting names or files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.localcluster.node.fake_server import frozen
from tests.support.traces import changed, entry, traces

if TYPE_CHECKING:
    from tests.support.testbed import Testbed

pytestmark = pytest.mark.usefixtures("no_mirror")

SOON = 30.0  # seconds until an agent has followed a change; it needs 2


def points_at(testbed: Testbed, host: str) -> bytes:
    """Return the hosts.toml of an image host; empty without one."""
    path = f"/etc/containerd/certs.d/{host}/hosts.toml"
    return testbed.node.sandbox.run(["cat", path], check=False).stdout


def undecoded(testbed: Testbed) -> int:
    """Return how often containerd logged a hosts.toml that it cannot decode."""
    return (testbed.node.cluster.folder / "logs/containerd.log").read_text().count("failed to decode")


def test_two_mirrors_of_two_upstreams(testbed: Testbed) -> None:
    """Each serves its images. Deleting one leaves the other unchanged."""
    before = traces(testbed.node)
    testbed.apply_mirror("one", testbed.world.host)
    testbed.mirror("two", testbed.private, credentialsSecret=testbed.credentials(testbed.private))
    testbed.wait_ready("one")
    images = {"one": testbed.world.push("lib/two:1", (2.0,)), "two": testbed.private.push("lib/two:1", (2.0,))}
    for name, image in images.items():
        testbed.pull(image)
        assert testbed.counted(name) > 2_000_000
    testbed.delete("one")
    assert not testbed.hosts_toml(testbed.world.host)
    testbed.pull(images["two"])
    assert testbed.counted("two") > 4_000_000
    testbed.pull(images["one"])
    testbed.delete("two")
    assert changed(testbed.node, before) == set()


def test_two_mirrors_of_one_upstream(testbed: Testbed) -> None:
    """The older mirror has hosts.toml, the younger its own name. It takes over in the end."""
    before = traces(testbed.node)
    testbed.mirror("older", testbed.world)
    testbed.mirror("younger", testbed.world, masqueradeUrl="younger.local.test")
    assert "older" in testbed.condition("younger", "NodesConfigured")["message"]
    image = testbed.world.push("lib/both:1", (2.0,))
    testbed.pull(image)
    assert (testbed.counted("older") > 2_000_000, testbed.counted("younger")) == (True, 0)
    assert entry(testbed.node, "younger").split() == [testbed.address("younger").encode(), b"younger.local.test"]
    testbed.delete("older")
    testbed.until(lambda: b"younger.local.test" in points_at(testbed, testbed.world.host), SOON)
    testbed.pull(image)
    assert testbed.counted("younger") > 2_000_000
    testbed.delete("younger")
    assert changed(testbed.node, before) == set()


def test_mirror_with_upstream_name(testbed: Testbed) -> None:
    """Pulls use the mirror, and the upstream while it is dead."""
    before, logged = traces(testbed.node), undecoded(testbed)
    testbed.mirror("same", testbed.world, masqueradeUrl=testbed.world.host)
    image = testbed.world.push("lib/same:1", (2.0,))
    testbed.pull(image)
    assert testbed.counted("same") > 2_000_000
    assert undecoded(testbed) == logged, "K10: containerd 1.6 ignored the file, and logged it at each pull"
    with frozen(testbed.node, *testbed.caches("same")):
        testbed.until(lambda: not entry(testbed.node, "same"), SOON)
        testbed.pull(testbed.world.push("lib/same:2", (2.0,)))
    testbed.until(lambda: entry(testbed.node, "same"), SOON)
    passed = testbed.counted("same")
    testbed.pull(image)
    assert testbed.counted("same") > passed + 2_000_000
    testbed.delete("same")
    assert changed(testbed.node, before) == set()


def test_foreign_ca_is_carried_over(testbed: Testbed) -> None:
    """Our hosts.toml carries the CA over."""
    path = f"/etc/containerd/certs.d/{testbed.private.host}/ca.crt"
    ca = testbed.private.ca_file.read_bytes()
    assert testbed.node.read(path) == ca
    testbed.mirror("own", testbed.private, credentialsSecret=testbed.credentials(testbed.private))
    image, login = testbed.private.push("lib/own:1", (2.0,)), testbed.login(testbed.private)
    testbed.pull(image)
    assert testbed.counted("own") > 2_000_000
    with testbed.without_controller():
        testbed.kubectl("scale", "statefulset", "registry-mirror-own", "--replicas=0")
        testbed.pull(image, **login)  # with or without our hosts.toml
        testbed.until(lambda: not testbed.hosts_toml(testbed.private.host), SOON)
        testbed.pull(image, **login)
    assert testbed.node.read(path) == ca
    testbed.delete("own")
