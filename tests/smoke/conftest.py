"""Skip the smoke test on machines that cannot run a node."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.testbed_setup import mark_node_tests

if TYPE_CHECKING:
    import pytest

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the test if no node can run; `make smoke` fails there before."""
    mark_node_tests(items, HERE)
