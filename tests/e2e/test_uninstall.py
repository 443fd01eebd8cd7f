"""Test that uninstalling leaves nothing, each time in a new node."""

from __future__ import annotations

import re
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.localcluster.cluster import Cluster
from tests.localcluster.node.installed import Installed
from tests.localcluster.node.node import Node
from tests.localcluster.node.upstream import PUBLIC, Upstream
from tests.support.protection import unprotect
from tests.support.testbed import Testbed
from tests.support.traces import changed, object_names, traces

if TYPE_CHECKING:
    from collections.abc import Iterator

CLEAN_WITHIN = 30.0  # seconds until kubelet has ended all agents
PULL_WITHIN = 10.0  # seconds of a pull from the upstream; past a dead address it takes 121


@pytest.fixture
def bare(flavour: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """Start a node without the system."""
    with Node(Cluster(tmp_path_factory.mktemp("bare") / "cluster"), flavour=flavour).start() as node:
        yield node


def world_of(node: Node) -> Upstream:
    """Start the public upstream."""
    return Upstream(node, "world.local.test", 9, ca=PUBLIC).prepare().start()


@contextmanager
def two_mirrors(node: Node, world: Upstream) -> Iterator[Testbed]:
    """Install the system with two mirrors of one upstream, and pull through the first."""
    testbed = Testbed(node, Installed(node).install(), world, world, world)
    with closing(testbed.kube):
        # One after the other: of two mirrors of the same second, the UID decides which one serves the upstream.
        testbed.mirror("first", world)
        testbed.mirror("second", world, masqueradeUrl="second.local.test")
        testbed.pull(world.push("lib/used:1", (2.0,)))
        assert testbed.counted("first") > 2_000_000
        yield testbed


@pytest.mark.parametrize("command", [("delete", "--kustomize={folder}"), ("delete", "namespace", "registry-mirror")])
def test_removing_everything_cleans_nodes(bare: Node, command: tuple[str, ...]) -> None:
    """Agents clean the node when their namespace ends, and pulls go to the upstream at once.

    The user took the protection against it away. The mirrors stay: their finalizer waits for a controller.
    """
    world = world_of(bare)
    files = traces(bare)
    with two_mirrors(bare, world) as testbed:
        unprotect(bare.cluster)
        arguments = [each.format(folder=testbed.system.folder) for each in command]
        bare.cluster.run_kubectl(*arguments, "--ignore-not-found", "--wait=false")
        testbed.until(lambda: not testbed.hosts_toml(world.host), CLEAN_WITHIN)
        assert testbed.pull(world.push("lib/after:1", (2.0,))) < PULL_WITHIN
        testbed.until(lambda: changed(bare, files) == set(), CLEAN_WITHIN, lambda: changed(bare, files))


def test_uninstall_after_refusal_leaves_nothing(bare: Node) -> None:
    """Pulls use the mirror after a refused removal. After the printed command, it leaves no object and no file."""
    world = world_of(bare)
    before, files = object_names(bare), traces(bare)
    with two_mirrors(bare, world) as testbed:
        remove = ("delete", f"--kustomize={testbed.system.folder}", "--ignore-not-found")
        refused = bare.cluster.run_kubectl(*remove, check=False).stderr
        counted = testbed.counted("first")
        testbed.pull(world.push("lib/refused:1", (2.0,)))
        assert testbed.counted("first") > counted + 2_000_000
        (command,) = set(re.findall(r"first run: kubectl (.+)", refused))
        bare.cluster.run_kubectl(*command.split())
        bare.cluster.run_kubectl(*remove, "--timeout=120s")
    assert {each for each in object_names(bare) ^ before if not each.startswith("PersistentVolume ")} == set()
    assert changed(bare, files) == set()
