"""A node of each flavour with the system installed in it, for all tests that leave it as it was."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deploy.local.cluster import Cluster
from deploy.local.node.able import why_not
from deploy.local.node.accounts import Account
from deploy.local.node.installed import NAMESPACE, Installed
from deploy.local.node.node import Node
from deploy.local.node.runtime import FLAVOURS
from deploy.local.node.upstream import PUBLIC, Upstream
from tests.support.canary import traces
from tests.support.land import Land

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
ACCOUNT = Account("puller", "a password: {with} #signs")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip all where no node can run; see tests/conftest.py for which worker has which flavour."""
    for item in items:
        if HERE not in item.path.parents:
            continue
        item.add_marker(pytest.mark.timeout(1800))  # a first run builds containerd, runc and CoreDNS
        if reason := why_not():
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session", params=FLAVOURS)
def flavour(request: pytest.FixtureRequest) -> str:
    """The container runtime."""
    return str(request.param)


@pytest.fixture(scope="session")
def land(flavour: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Land]:
    """A node, three registries outside of the cluster, and the system, which trusts the private one by a CA bundle."""
    folder = tmp_path_factory.mktemp("e2e") / "cluster"
    with Node(Cluster(folder), flavour=flavour).start() as node:
        hub = {"tokens": True, "public": True, "auth_host": "auth.docker.io"}
        upstreams = (
            Upstream(node, "world.local.test", 9, authority=PUBLIC),
            Upstream(node, "registry-1.docker.io", 4, ACCOUNT, authority=PUBLIC, **hub),  # type: ignore[arg-type]
            Upstream(node, "private.local.test", 5, ACCOUNT),
        )
        for upstream in upstreams:
            upstream.prepare().start()
        # What an administrator has set for the private one: its CA, in the folder that ours has to share.
        node.write(f"/etc/containerd/certs.d/{upstreams[2].host}/ca.crt", upstreams[2].ca_file.read_bytes())
        bundle = {"ca-certificates.crt": upstreams[2].ca_file.read_text()}
        metadata = {"name": "bundle", "namespace": NAMESPACE}
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
        node.apply([namespace, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": bundle}])
        system = Installed(node, CA_CERTIFICATE_BUNDLE="bundle", UPSTREAM_PROBE_SECONDS="5").install()
        there = Land(node, system, *upstreams)
        yield there
        assert traces(there.told_anywhere(), [ACCOUNT.password]) == [], "the password is in the Secrets alone"
        there.kube.close()


@pytest.fixture(scope="module")
def world(land: Land) -> Iterator[Land]:
    """A mirror `world` of the upstream that everybody trusts, for the tests of a module."""
    land.mirror("world", land.world)
    yield land
    land.delete("world")


@pytest.fixture
def no_mirror(land: Land) -> Iterator[None]:
    """No mirror stands in the way of the next test, whatever became of this one."""
    yield
    land.kubectl("delete", "rm", "--all", "--timeout=150s")
