"""Provide one node with the system for all tests, each of which leaves it unchanged."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.localcluster.node.runtime import DEBIAN
from tests.support.serving import to_be_trusted, trusted
from tests.support.testbed_setup import mark_node_tests, start_testbed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.testbed import Testbed

HERE = Path(__file__).parent
# Overlap of old and new CA instead of 15 minutes. It is longer than the kubelet takes to sync a Secret.
OVERLAP = "40s"
OVERLAP_ENDS = 90.0  # seconds until a former CA has left


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip all tests where no node can run."""
    mark_node_tests(items, HERE)


# A parameter with one value, so that tests/conftest.py gives all tests to one worker.
@pytest.fixture(scope="session", params=[DEBIAN])
def testbed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Testbed]:
    """Start the node with the runtime that needs no build."""
    with start_testbed(
        tmp_path_factory.mktemp("chaos") / "cluster", request.param, CERTIFICATE_OVERLAP=OVERLAP
    ) as started:
        yield started


@pytest.fixture(scope="session")
def world(testbed: Testbed) -> Iterator[Testbed]:
    """Provide a mirror `world` with two replicas of the public upstream."""
    testbed.mirror("world", testbed.world, replicas=2)
    yield testbed
    testbed.delete("world")


@pytest.fixture(autouse=True)
def as_before(world: Testbed) -> None:
    """Wait for the mirror's health before each test."""
    world.wait_ready("world")
    world.until(lambda: world.hosts_toml(world.world.host))
    # A CA that leaves during a test would change the node's files.
    world.until(lambda: to_be_trusted(world, "world").count("BEGIN CERTIFICATE") == 1, OVERLAP_ENDS)
    world.until(lambda: trusted(world, "world") == to_be_trusted(world, "world"))
