"""Provide a node of each runtime flavour to the tests on a real node."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.localcluster.cluster import Cluster
from tests.localcluster.node.node import Node
from tests.localcluster.node.requirements import unmet_requirement
from tests.localcluster.node.runtime import FLAVOURS

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip all of them where no node can run (`make e2e` does not even begin there); a first run has time to build."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.timeout(1800))
            if reason := unmet_requirement():
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="module", params=FLAVOURS)
def node(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """Share one node of each flavour between the tests of a module that leave it as it was."""
    with Node(Cluster(tmp_path_factory.mktemp("node") / "cluster"), flavour=request.param).start() as started:
        yield started
