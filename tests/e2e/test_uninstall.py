"""Installed, used, uninstalled, as README says: nothing is left. In a node of its own."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.localcluster.cluster import Cluster
from tests.localcluster.node.installed import Installed
from tests.localcluster.node.node import Node
from tests.localcluster.node.upstream import PUBLIC, Upstream
from tests.support.land import Land
from tests.support.traces import changed, traces

if TYPE_CHECKING:
    from collections.abc import Iterator

# Kinds whose objects come and go by themselves, or tell of what was.
PASSING = {"events", "events.events.k8s.io", "leases.coordination.k8s.io", "nodes", "componentstatuses"}


@pytest.fixture
def bare(flavour: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node in which nothing of ours is."""
    with Node(Cluster(tmp_path_factory.mktemp("bare") / "cluster"), flavour=flavour).start() as node:
        yield node


def objects(node: Node) -> set[str]:
    """All objects of the cluster by kind, namespace and name."""
    run = node.cluster.run_kubectl
    kinds = set(run("api-resources", "--verbs=list", "-o", "name").stdout.split()) - PASSING
    columns = "custom-columns=KIND:.kind,NAMESPACE:.metadata.namespace,NAME:.metadata.name"
    said = run("get", ",".join(sorted(kinds)), "--all-namespaces", "--no-headers", "-o", columns).stdout
    return {" ".join(line.split()) for line in said.splitlines()}


def test_nothing_is_left_of_it(bare: Node) -> None:
    """No object in the cluster, no file on the node."""
    world = Upstream(bare, "world.local.test", 9, authority=PUBLIC).prepare().start()
    before, files = objects(bare), traces(bare)
    system = Installed(bare).install()
    land = Land(bare, system, world, world, world)
    with closing(land.kube):
        land.apply_mirror("first", world.host)
        land.mirror("second", world, masqueradeUrl="second.local.test")
        land.wait_ready("first")
        land.pull(world.push("lib/used:1", (2.0,)))
        assert land.counted("first") > 2_000_000
    system.uninstall()
    assert {each for each in objects(bare) ^ before if not each.startswith("PersistentVolume ")} == set()
    assert changed(bare, files) == set()
