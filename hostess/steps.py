"""Run independent steps, so that one that fails does not stop the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hostess.hostsfile.hosts_file import MountReplaced
from hostess.node_state import NodeConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def run_all(steps: Iterable[Callable[[], object]]) -> None:
    """Run every step, then raise the first failure."""
    failures: list[Exception] = []
    for step in steps:
        try:
            step()
        except (OSError, NodeConfigError, MountReplaced) as failure:
            failures.append(failure)
    if failures:
        raise failures[0]
