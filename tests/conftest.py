"""How `make e2e` shares its tests between two workers: one flavour of container runtime each.

By this instead of the marks of `xdist_group`, which xdist 3.8 writes where pytest 9.2 no longer reads them: each worker
would make a node of each flavour, again and again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

from tests.localcluster.node.runtime import FLAVOURS

if TYPE_CHECKING:
    from xdist.remote import Producer  # type: ignore[import-untyped]


class ByFlavour(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """All tests of a flavour go to one worker, in their order; the others file by file, wherever there is room."""

    def _split_scope(self, nodeid: str) -> str:
        file, _, test = nodeid.partition("::")
        return next((flavour for flavour in FLAVOURS if flavour in test), file)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling | None:
    """Give `--dist=loadgroup` this meaning."""
    return ByFlavour(config, log) if config.getoption("dist") == "loadgroup" else None
