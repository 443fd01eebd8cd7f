"""A node of each flavour with the system installed in it, for all tests that leave it as it was."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.localcluster.node.runtime import FLAVOURS
from tests.support.canary import traces
from tests.support.testbed_setup import ACCOUNT, mark_node_tests, start_testbed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.testbed import Testbed

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip all where no node can run; see tests/conftest.py for which worker has which flavour."""
    mark_node_tests(items, HERE)


@pytest.fixture(scope="session", params=FLAVOURS)
def flavour(request: pytest.FixtureRequest) -> str:
    """The container runtime."""
    return str(request.param)


@pytest.fixture(scope="session")
def testbed(flavour: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Testbed]:
    """The node of a flavour, for all its tests."""
    with start_testbed(tmp_path_factory.mktemp("e2e") / "cluster", flavour) as there:
        yield there
        assert traces(there.visible_text(), [ACCOUNT.password]) == [], "the password is in the Secrets alone"


@pytest.fixture(scope="module")
def world(testbed: Testbed) -> Iterator[Testbed]:
    """A mirror `world` of the upstream that everybody trusts, for the tests of a module."""
    testbed.mirror("world", testbed.world)
    yield testbed
    testbed.delete("world")


@pytest.fixture
def no_mirror(testbed: Testbed) -> Iterator[None]:
    """No mirror stands in the way of the next test, whatever became of this one."""
    yield
    testbed.kubectl("delete", "rm", "--all", "--timeout=150s")
