"""Start a testbed: a node with the system in it and registries outside."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.localcluster.cluster import Cluster
from tests.localcluster.families import SINGLE, Families
from tests.localcluster.node.accounts import Account
from tests.localcluster.node.hub import docker_hub
from tests.localcluster.node.installed import NAMESPACE, Installed
from tests.localcluster.node.node import Node
from tests.localcluster.node.requirements import unmet_requirement
from tests.localcluster.node.upstream import PUBLIC, Upstream
from tests.support.testbed import Testbed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Characters that YAML, JSON, shells, URLs and Basic treat in a special way, and space at both ends.
ACCOUNT = Account("puller", " #p: {'\"\\%2F $(x)\n\u00e9\t ")


def mark_node_tests(items: list[pytest.Item], here: Path) -> None:
    """Give the tests of a folder the time of a first node, and skip them where no node can run."""
    for item in items:
        if here not in item.path.parents:
            continue
        item.add_marker(pytest.mark.timeout(1800))  # a first run builds containerd, runc and CoreDNS
        if reason := unmet_requirement():
            item.add_marker(pytest.mark.skip(reason=reason))


@contextmanager
def start_testbed(folder: Path, flavour: str, families: Families = SINGLE, **environment: str) -> Iterator[Testbed]:
    """Start a node, three registries outside of the cluster, and the system, which trusts the private one.

    `environment` extends the controller's environment.
    """
    with Node(Cluster(folder), flavour=flavour, families=families).start() as node:
        upstreams = upstreams_of(node)
        for upstream in upstreams:
            upstream.prepare().start()
        # The administrator's CA for the private registry, in the folder of the agent's hosts.toml.
        node.write(f"/etc/containerd/certs.d/{upstreams[2].host}/ca.crt", upstreams[2].ca_file.read_bytes())
        bundle = {"ca-certificates.crt": upstreams[2].ca_file.read_text()}
        metadata = {"name": "bundle", "namespace": NAMESPACE}
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
        node.apply([namespace, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": bundle}])
        testbed = Testbed(node, system_of(node, **environment).install(), *upstreams)
        yield testbed
        testbed.kube.close()


def upstreams_of(node: Node) -> tuple[Upstream, Upstream, Upstream]:
    """Return the registries: a public one, one in Docker Hub's place, a private one."""
    return (
        Upstream(node, "world.local.test", 9, ca=PUBLIC),
        docker_hub(node, 4, ACCOUNT),
        Upstream(node, "private.local.test", 5, ACCOUNT),
    )


def system_of(node: Node, **environment: str) -> Installed:
    """Return the system as the tests configure it."""
    return Installed(node, CA_CERTIFICATE_BUNDLE="bundle", **environment)
