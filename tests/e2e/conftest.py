"""A node of each flavour with the system installed in it, for all tests that leave it as it was."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.localcluster.node.runtime import FLAVOURS
from tests.support.canary import traces
from tests.support.lands import ACCOUNT, a_land, mark

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.land import Land

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip all where no node can run; see tests/conftest.py for which worker has which flavour."""
    mark(items, HERE)


@pytest.fixture(scope="session", params=FLAVOURS)
def flavour(request: pytest.FixtureRequest) -> str:
    """The container runtime."""
    return str(request.param)


@pytest.fixture(scope="session")
def land(flavour: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Land]:
    """The node of a flavour, for all its tests."""
    with a_land(tmp_path_factory.mktemp("e2e") / "cluster", flavour) as there:
        yield there
        assert traces(there.told_anywhere(), [ACCOUNT.password]) == [], "the password is in the Secrets alone"


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
