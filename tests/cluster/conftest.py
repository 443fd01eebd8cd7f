"""Provide real clusters: a shared one, and separate ones for tests that break things."""

from __future__ import annotations

import itertools
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from controller.objects import resources
from tests.localcluster.cluster import Cluster
from tests.localcluster.commands import SERVERS
from tests.localcluster.system import System
from tests.support.certificates import Issuer
from tests.support.components import NODE
from tests.support.flaky import failed_attempts
from tests.support.kube import NAMESPACE, Kube, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import httpx

    Making = Callable[..., "Running"]

BUNDLE = "upstream-ca"  # the ConfigMap with the CA of the upstreams


class Running:
    """A cluster with the running system and the administrator's client."""

    def __init__(self, cluster: Cluster, **environment: str) -> None:
        self.cluster = cluster
        self.system = System(cluster, environment)
        self.kube = Kube(cluster)

    def stop(self) -> None:
        """Stop the programs. The cluster keeps running."""
        self.kube.close()
        self.system.stop()

    def start(self, **environment: str) -> None:
        """Start the controller with these settings, and the webhook if it does not run."""
        self.system.environment = environment
        processes = self.system.processes
        if "webhook" in processes.names() and processes.alive("webhook"):
            self.system.start_controller()
        else:
            self.system.start()

    def renew(self) -> None:
        """Stop the controllers, and delete the mirrors, nodes, Events and leases that a test left."""
        processes = self.system.processes
        processes.stop([name for name in processes.names() if name.startswith("controller")])
        for component in SERVERS:
            if component in self.cluster.components and not self.cluster.alive(component):
                self.cluster.start_component(component)
        mirrors = resources.MIRROR.path(NAMESPACE)
        until(lambda: self.kube.http.get(mirrors).is_success, why="the API server serves mirrors")
        for mirror in self.kube.every(resources.MIRROR):
            name = mirror["metadata"]["name"]
            self.kube.patch(resources.MIRROR, name, {"metadata": {"finalizers": None}})
            self.kube.http.delete(resources.MIRROR.path(NAMESPACE, name))
        until(self._is_empty, why="nothing of a mirror is left")
        for kind, namespace in (
            (NODE, NAMESPACE),
            (resources.POD, "default"),
            (resources.EVENT, "default"),
            (resources.LEASE, NAMESPACE),
        ):
            self._delete_every(kind, namespace).raise_for_status()

    def _is_empty(self) -> bool:
        """Delete pods, as no kubelet does, and objects of deleted mirrors; return True if none is left."""
        self._delete_every(resources.POD, NAMESPACE)  # an admission policy of the test may end later
        left = [
            (kind, each["metadata"]["name"])
            for kind in (*resources.CHILDREN, resources.CLAIM, resources.POD)
            for each in self.kube.every(kind)
            if "registry-mirror-" in each["metadata"]["name"]
        ]
        for kind, name in left:
            if kind is not resources.POD:  # a mirror may be deleted without its objects
                self.kube.http.delete(kind.path(NAMESPACE, name))
        return not left

    def _delete_every(self, kind: resources.Kind, namespace: str) -> httpx.Response:
        return self.kube.http.request("DELETE", kind.path(namespace), json={"gracePeriodSeconds": 0})


@contextmanager
def clusters(
    request: pytest.FixtureRequest, factory: pytest.TempPathFactory, *, scheduler: bool = True
) -> Iterator[Making]:
    """Create clusters with installed manifests and no running programs. Keywords are settings of the programs.

    With `controllers=False` only the API server runs. All clusters end with the block. After a failed test their data
    and logs stay.
    """
    made: list[Running] = []
    failed = failed_attempts(request.session)

    def make(*arguments: str, controllers: bool = True, **environment: str) -> Running:
        cluster = Cluster(factory.mktemp("cluster"))
        cluster.start(controllers=controllers, scheduler=scheduler and controllers, extra_apiserver_args=arguments)
        running = Running(cluster, **environment)
        made.append(running)
        running.system.install()
        return running

    try:
        yield make
    finally:
        for running in made:
            running.stop()
            if failed_attempts(request.session) == failed:
                running.cluster.remove()
            else:
                running.cluster.stop()
                sys.stderr.write(f"\nA test failed: its cluster's logs and data stay in {running.cluster.folder}.\n")


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Yield the cluster that tests share, with webhook and controller running. Tests leave it unchanged."""
    with Cluster(tmp_path_factory.mktemp("shared")).start() as cluster:
        running = Running(cluster)
        running.system.install().start()
        yield running
        running.stop()


@pytest.fixture
def kube(shared: Running) -> Kube:
    """Return the administrator's client of the shared cluster."""
    return shared.kube


@pytest.fixture
def fresh(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Making]:
    """Yield a function that creates separate clusters: see `clusters`."""
    with clusters(request, tmp_path_factory) as make:
        yield make


@pytest.fixture
def own(fresh: Making) -> Running:
    """Return a separate cluster with the running system."""
    running = fresh()
    running.system.start()
    return running


@pytest.fixture(scope="module")
def reused(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Yield a module's own cluster, with no running programs."""
    with clusters(request, tmp_path_factory) as make:
        yield make()


@pytest.fixture(scope="module")
def reused_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Yield a module's own API server, with no controllers and no running programs."""
    with clusters(request, tmp_path_factory) as make:
        yield make(controllers=False)


@pytest.fixture
def server_only(reused_server: Running) -> Iterator[Running]:
    """Yield the module's API server. What the test leaves of a mirror is deleted."""
    yield reused_server
    reused_server.renew()


@pytest.fixture
def renewed(reused: Running) -> Iterator[Making]:
    """Yield a function that starts the system on the module's cluster. Keywords are settings of the programs.

    A start of a cluster takes 7 s of CPU. Tests may share one if objects that belong to no mirror have names of their
    own.
    """

    def start(**environment: str) -> Running:
        reused.start(**environment)
        return reused

    yield start
    reused.renew()


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    """Return the CA of the upstreams."""
    return Issuer()


@pytest.fixture(scope="module")
def trusting(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, issuer: Issuer
) -> Iterator[Running]:
    """Yield a module's own system, not started, that trusts the upstreams' CA."""
    with clusters(request, tmp_path_factory) as make:
        made = make(CA_CERTIFICATE_BUNDLE=BUNDLE)
        bundle = {"metadata": {"name": BUNDLE}, "data": {"ca-certificates.crt": issuer.certificate.decode()}}
        made.kube.create(resources.CONFIG_MAP, bundle)
        yield made


_NUMBERS = itertools.count(1)


@pytest.fixture
def name(shared: Running) -> Iterator[str]:
    """Yield a unique mirror name. Mirrors whose names start with it are deleted at the end."""
    name = f"m{next(_NUMBERS)}x"
    yield name
    for mirror in shared.kube.every(resources.MIRROR):
        if mirror["metadata"]["name"].startswith(name):
            shared.kube.delete(resources.MIRROR, mirror["metadata"]["name"])
