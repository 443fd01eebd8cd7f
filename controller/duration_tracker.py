"""Measure how long a state has lasted, by this process and a monotonic clock.

Times stored in the cluster come from a wall clock, which may be years ahead. A new leader starts all durations at zero.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable


@dataclass(slots=True)
class DurationTracker:
    """Remember one state per key, and since when, in seconds of one clock."""

    _since: dict[str, tuple[Hashable, float]] = field(default_factory=dict)

    def held_for(self, key: str, state: Hashable, now: float) -> float:
        """Return for how many seconds `state` has been the state of `key`; None removes the key."""
        if state is None:
            self._since.pop(key, None)
            return 0.0
        if key not in self._since or self._since[key][0] != state:
            self._since[key] = (state, now)
        return now - self._since[key][1]

    def forget(self, key: str) -> None:
        """Remove `key`."""
        self._since.pop(key, None)
