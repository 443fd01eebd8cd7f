"""Share node tests between two workers, one container runtime each, and rerun failed tests of clusters once.

The marks of `xdist_group` do not work: xdist 3.8 writes them where pytest 9.2 does not read them. Each worker would
start a node of each runtime several times.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

from tests.localcluster.node.runtime import FLAVOURS

if TYPE_CHECKING:
    from xdist.remote import Producer  # type: ignore[import-untyped]


pytest_plugins = ["pytester", "tests.support.flaky"]


class SchedulingByRuntime(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Give all tests of one runtime to one worker, and the others file by file."""

    def _split_scope(self, nodeid: str) -> str:
        file, _, test = nodeid.partition("::")
        return next((flavour for flavour in FLAVOURS if flavour in test), file)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling | None:
    """Return the scheduler for `--dist=loadgroup`."""
    return SchedulingByRuntime(config, log) if config.getoption("dist") == "loadgroup" else None
