"""Provide a node of each flavour with the system, for tests that leave it unchanged."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.localcluster.node import debian
from tests.localcluster.node.runtime import FLAVOURS
from tests.support.canary import traces
from tests.support.testbed_setup import ACCOUNT, mark_node_tests, start_testbed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.testbed import Testbed

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip all tests where no node can run; tests/conftest.py assigns flavours to workers."""
    mark_node_tests(items, HERE)


@pytest.fixture(scope="session", params=FLAVOURS)
def flavour(request: pytest.FixtureRequest) -> str:
    """Name the container runtime. Podman's files are there before any test compares the node's files."""
    debian.install(debian.FOR_PODMAN)
    return str(request.param)


@pytest.fixture(scope="session")
def testbed(flavour: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Testbed]:
    """Start the node of a flavour."""
    with start_testbed(tmp_path_factory.mktemp("e2e") / "cluster", flavour) as testbed:
        yield testbed
        assert traces(testbed.visible_text(), [ACCOUNT.password]) == [], "the password is in the Secrets alone"


@pytest.fixture(scope="module")
def world(testbed: Testbed) -> Iterator[Testbed]:
    """Provide a mirror `world` of the public upstream for a module."""
    testbed.mirror("world", testbed.world)
    yield testbed
    testbed.delete("world")


@pytest.fixture
def no_mirror(testbed: Testbed) -> Iterator[None]:
    """Delete all mirrors after the test."""
    yield
    testbed.kubectl("delete", "rm", "--all", "--timeout=150s")
