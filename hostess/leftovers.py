"""Remove what is left on the node of mirrors that no longer exist.

A backup of the node may write old files back, and a node may be down during a deletion. Only the API server decides
about a mirror, by two answers in a row. A mirror with an agent on the node stays in any case.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from common import names
from hostess.hostsfile.hosts_file import MountReplaced
from hostess.kube.api_client import ApiError
from hostess.node_state import NodeConfigError

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from hostess.json_log import Log
    from hostess.kube.api_client import ApiClient
    from hostess.node_config import Node

# Seconds between two scans of the node. An agent restarts within one.
INTERVAL: Final = 20.0
# Scans in a row that find files without an agent. The API server is asked from the second on.
SCANS: Final = 3
# Seconds until the API server is asked again about a mirror that exists. Its agent may be missing on many nodes.
EXISTS_FOR: Final = 600.0


@dataclass(slots=True)
class Leftovers:
    """Find files of mirrors without an agent. `may_decide` is False while the own mirror is not seen."""

    node: Node
    api: ApiClient
    log: Log
    may_decide: Callable[[], bool]
    _scans: dict[str, int] = field(default_factory=dict)
    _existing_until: dict[str, float] = field(default_factory=dict)

    def run(self, stopping: threading.Event) -> None:
        """Scan the node from time to time. In its own thread, since the API server may hang."""
        # The agents of a node do not all scan at the same moment.
        while not stopping.wait(INTERVAL * random.uniform(0.8, 1.2)):  # noqa: S311 (spreads the agents)
            try:
                self.scan()
            except (OSError, NodeConfigError, MountReplaced) as error:  # another agent, or the next scan
                self.log.warning("leftovers not removed", why=f"{type(error).__name__}: {error}")

    def scan(self) -> None:
        """Scan once, and remove what SCANS scans in a row have found."""
        found = self.node.other_mirrors() if self.may_decide() else set()
        self._scans = {mirror: scans for mirror, scans in self._scans.items() if mirror in found}
        for mirror in sorted(found):
            if not self._is_left(mirror):
                self._scans.pop(mirror, None)
            elif self._scans[mirror] >= SCANS and self.node.remove_leftovers(mirror):
                self.log.info("leftovers removed", mirror=mirror)

    def _is_left(self, mirror: str) -> bool:
        """Count this scan; return False if the mirror has an agent, or may exist."""
        if self.node.has_agent_of(mirror) or time.monotonic() < self._existing_until.get(mirror, 0.0):
            return False
        scans = self._scans[mirror] = self._scans.get(mirror, 0) + 1
        return scans == 1 or not self._may_exist(mirror)

    def _may_exist(self, mirror: str) -> bool:
        """Return True if the mirror has a Service, or if the API server does not answer."""
        path = f"/api/v1/namespaces/{self.node.settings.namespace}/services"
        try:
            found = self.api.get(path, {"fieldSelector": f"metadata.name={names.object_name(mirror)}"})["items"]
        except (ApiError, KeyError, TypeError):
            return True
        if found:
            self._existing_until[mirror] = time.monotonic() + EXISTS_FOR
        return bool(found)
