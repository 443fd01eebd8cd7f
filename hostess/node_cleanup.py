"""Remove a deleted mirror from the node, and check the node again until the agent ends."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hostess.hostsfile.hosts_file import MountReplaced
from hostess.node_state import NodeConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from hostess.json_log import Log
    from hostess.node_config import Node

# Seconds between two checks.
INTERVAL: Final = 0.5


@dataclass(slots=True)
class NodeCleanup:
    """Cleanup of one mirror. `cleaned_at` is by the monotonic clock.

    `written_back`: a program that edits the hosts file may write its old content back for so many seconds after a
    cleanup. The pod has 10 s to end, of which the question for the Service may take 3.
    """

    node: Node
    log: Log
    cleaned_at: float | None = None
    written_back: float = 4.0

    @property
    def is_done(self) -> bool:
        """Return True if the node was cleaned, and the mirror is not configured again."""
        return self.cleaned_at is not None

    def reset(self) -> None:
        """Note that the mirror gets configured again."""
        self.cleaned_at = None

    def clean(self) -> None:
        """Remove all files of the mirror, also what another program wrote back. Raises as Node.clean does."""
        if self.cleaned_at is None or not self.node.is_clean():
            self.node.clean()
            self.cleaned_at = time.monotonic()

    def finish(self, removal_reason: Callable[[], str]) -> None:
        """Clean the node at the end of the agent, if the mirror was removed; log a failure.

        `removal_reason` returns an empty string if the mirror stays.
        """
        began = time.monotonic()
        while self._clean_if_removed(removal_reason):
            if time.monotonic() > (self.cleaned_at or began) + self.written_back:
                return
            time.sleep(INTERVAL)

    def _clean_if_removed(self, removal_reason: Callable[[], str]) -> bool:
        """Return False if there is no reason to check again."""
        with contextlib.suppress(NodeConfigError, MountReplaced, OSError):
            if self.node.is_clean():
                return self.is_done
        reason = removal_reason()
        if not reason:
            return False
        try:
            self.clean()
        except (NodeConfigError, MountReplaced, OSError) as error:
            self.log.warning("node cleanup failed", why=f"{type(error).__name__}: {error}", reason=reason)
        else:
            self.log.info("node cleaned", reason=reason)
        return True
