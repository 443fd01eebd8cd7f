"""Start the scene, which all tests of a worker share."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from controller.objects import resources
from tests.cluster.conftest import clusters
from tests.monitoring import scene
from tests.monitoring.scene import MIRROR, Scene
from tests.support.caches import running_caches
from tests.support.certificates import Issuer
from tests.support.node_agent import NodeAgent
from tests.support.registries import running_registry
from tests.support.testbed_setup import mark_node_tests

if TYPE_CHECKING:
    from collections.abc import Iterator

BUNDLE = "upstream-ca"
HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip all tests where no volume can be mounted and no Debian package unpacked."""
    mark_node_tests(items, HERE)


@pytest.fixture(scope="module")
def watched(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Yield a mirror that is Ready and watched, with pulls going on."""
    issuer, folder = Issuer(), tmp_path_factory.mktemp("monitoring")
    with ExitStack() as stack:
        make = stack.enter_context(clusters(request, tmp_path_factory))
        registry = stack.enter_context(running_registry(issuer))
        registry.does.auth, registry.does.remaining = "basic", 80
        running = make(CA_CERTIFICATE_BUNDLE=BUNDLE)
        bundle = {"metadata": {"name": BUNDLE}, "data": {"ca-certificates.crt": issuer.certificate.decode()}}
        running.kube.create(resources.CONFIG_MAP, bundle)
        running.system.start_controller(**scene.SHORT_LIVED)
        running.system.start_secret_sync()
        running.system.start_webhook()
        scene.create_pods_of_programs(running)
        stack.enter_context(scene.mounted_volumes(running))
        scene.create_mirror(running, registry)
        caches = stack.enter_context(running_caches(running, MIRROR))
        running.kube.until_condition(MIRROR, "CacheAvailable", "True", "AllReplicasReady", seconds=60)
        agent = NodeAgent(running, MIRROR, scene.NODE, folder / "node").start()
        stack.callback(agent.stop)
        agent.uses(*(each.address for each in caches))
        running.kube.until_condition(MIRROR, "Ready", "True", "Ready", seconds=60)
        prometheus = stack.enter_context(scene.watched(running, folder))
        stack.enter_context(scene.Pulls(registry, caches))
        yield Scene(running, registry, caches, agent, prometheus, scene.now())
