"""Real clusters for the tests: one that most of them share, and one of its own for each that breaks things."""

from __future__ import annotations

import itertools
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from controller.objects import resources
from tests.localcluster.cluster import Cluster
from tests.localcluster.system import System
from tests.support.flaky import failed_attempts
from tests.support.kube import Kube

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Making = Callable[..., "Running"]


class Running:
    """A cluster with the system beside it, and the administrator's view of it."""

    def __init__(self, cluster: Cluster, **environment: str) -> None:
        self.cluster = cluster
        # Most upstreams of these tests do not exist; test_upstream has one that does.
        self.system = System(cluster, {"UPSTREAM_PROBE_SECONDS": "0", **environment})
        self.kube = Kube(cluster)

    def stop(self) -> None:
        """Ends the programs; the cluster is somebody else's to end."""
        self.kube.close()
        self.system.stop()


@contextmanager
def clusters(
    request: pytest.FixtureRequest, factory: pytest.TempPathFactory, *, scheduler: bool = True
) -> Iterator[Making]:
    """Makes clusters with the manifests installed and no program started; settings of the programs are keywords.

    With `controllers=False` there is nobody but the API server, and so nobody else who writes. All end with the block;
    where a test failed meanwhile their data and logs stay, to look at.
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

    yield make
    for running in made:
        running.stop()
        if failed_attempts(request.session) == failed:
            running.cluster.remove()
        else:
            running.cluster.stop()
            sys.stderr.write(f"\nA test failed: its cluster's logs and data stay in {running.cluster.folder}.\n")


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The cluster that tests share which leave it as they found it, webhook and controller running."""
    with Cluster(tmp_path_factory.mktemp("shared")).start() as cluster:
        running = Running(cluster)
        running.system.install().start()
        yield running
        running.stop()


@pytest.fixture
def kube(shared: Running) -> Kube:
    """The administrator's view of the shared cluster."""
    return shared.kube


@pytest.fixture
def fresh(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Making]:
    """Makes clusters of one's own: see `clusters`."""
    with clusters(request, tmp_path_factory) as make:
        yield make


@pytest.fixture
def own(fresh: Making) -> Running:
    """A cluster of its own with the system started."""
    running = fresh()
    running.system.start()
    return running


_NUMBERS = itertools.count(1)


@pytest.fixture
def name(shared: Running) -> Iterator[str]:
    """A mirror's name that no other test has; mirrors whose name starts so are deleted at the end."""
    name = f"m{next(_NUMBERS)}x"
    yield name
    for mirror in shared.kube.every(resources.MIRROR):
        if mirror["metadata"]["name"].startswith(name):
            shared.kube.delete(resources.MIRROR, mirror["metadata"]["name"])
