"""The system on a real node from its own images: install, pull, pull without upstream, without mirror, uninstall.

The tests run in this order, and each needs those before it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.localcluster.cluster import Cluster
from tests.localcluster.node.installed import Installed
from tests.localcluster.node.node import Node
from tests.localcluster.node.upstream import PUBLIC, Upstream
from tests.support.testbed import Testbed
from tests.support.traces import changed, object_names, traces

if TYPE_CHECKING:
    from collections.abc import Iterator

MIRROR = "smoke"
IMAGES = ("lib/smoke:1", "lib/smoke:2")


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """Start a node of the runtime that most users have."""
    with Node(Cluster(tmp_path_factory.mktemp("smoke") / "cluster"), flavour="containerd-2").start() as started:
        yield started


@pytest.fixture(scope="module")
def upstream(node: Node) -> Upstream:
    """Start a registry outside of the cluster."""
    return Upstream(node, "world.local.test", 9, ca=PUBLIC).prepare().start()


@pytest.fixture(scope="module")
def before(node: Node, upstream: Upstream) -> tuple[set[str], set[str]]:  # noqa: ARG001 (it is there first)
    """Return the objects of the cluster and the files of the node before anything is installed."""
    return object_names(node), traces(node)


@pytest.fixture(scope="module")
def system(node: Node, upstream: Upstream, before: object) -> Iterator[Testbed]:  # noqa: ARG001 (it is taken first)
    """Return the system, which is not installed yet."""
    testbed = Testbed(node, Installed(node), upstream, upstream, upstream)
    yield testbed
    testbed.kube.close()


@pytest.fixture(scope="module")
def images(upstream: Upstream) -> list[str]:
    """Push an image to pull before, and one to pull while the mirror is gone; return their names."""
    return [upstream.push(image, (2.0,)) for image in IMAGES]


def test_install_makes_mirror_ready(system: Testbed) -> None:
    """Both programs run with all replicas, and a new mirror is Ready on the node."""
    system.system.install()
    system.mirror(MIRROR, system.world)
    assert system.hosts_toml(system.world.host)


def test_running_system_has_no_difference(system: Testbed) -> None:
    """Tools that compare with the manifests ignore all that webhook and controller have written."""
    for flags in ((), ("--server-side", "--field-manager=gitops")):
        system.node.cluster.run_kubectl("diff", f"--kustomize={system.system.folder}", *flags)


def test_pull_goes_through_mirror(system: Testbed, images: list[str]) -> None:
    """The cache counts the bytes; a second pull takes no blob from the upstream."""
    system.pull(images[0])
    assert system.counted(MIRROR) > 2_000_000
    blobs = system.world.count("blob")
    system.pull(images[0])
    assert system.world.count("blob") == blobs


def test_pull_works_without_upstream(system: Testbed, images: list[str]) -> None:
    """The cache has the image."""
    system.world.stop()
    try:
        system.pull(images[0])
    finally:
        system.world.start()


def test_pull_works_without_mirror(system: Testbed, images: list[str]) -> None:
    """The upstream is asked if no cache pod runs."""
    with system.without_controller():
        system.kubectl("scale", "statefulset", f"registry-mirror-{MIRROR}", "--replicas=0")
        system.until(lambda: not system.caches(MIRROR))
        blobs = system.world.count("blob")
        system.pull(images[1])
        assert system.world.count("blob") > blobs


def test_uninstall_leaves_nothing(system: Testbed, before: tuple[set[str], set[str]]) -> None:
    """No object in the cluster and no file on the node is left; volumes are the administrator's."""
    objects, files = before
    system.system.uninstall()
    assert {each for each in object_names(system.node) ^ objects if not each.startswith("PersistentVolume ")} == set()
    assert changed(system.node, files) == set()
