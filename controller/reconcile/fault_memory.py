"""Decide when to search for faults of pods, and remember the result. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from controller.reconcile.requeue import backoff

# Seconds that pods may take to start, and between two searches.
SEARCH_AFTER: Final = 5.0
SEARCH_BACKOFF: Final = (SEARCH_AFTER, 60.0)


@dataclass(slots=True)
class FaultMemory:
    """The last search for one kind of pods. Times are those of one monotonic clock, in seconds."""

    fault: str = ""
    _since: float | None = None
    _searched: float = -math.inf

    def is_due(self, *, lacking: bool, at_once: bool, now: float) -> bool:
        """Return True for a due search: after some seconds, or `at_once`."""
        if not lacking:
            self.fault, self._since, self._searched = "", None, -math.inf
            return False
        self._since = now if self._since is None else self._since
        return (at_once or now - self._since >= SEARCH_AFTER) and now - self._searched >= SEARCH_AFTER

    def note(self, fault: str, now: float) -> None:
        """Remember the result of a search."""
        self.fault, self._searched = fault, now

    def next_search(self, now: float) -> float | None:
        """Return the seconds until the next search, or None without lacking pods."""
        return None if self._since is None else backoff(now - self._since, SEARCH_BACKOFF)
