"""How long something has been so, as this process has seen it by a clock that only goes forward.

Not by times written into the cluster: a wall clock that is two years ahead would find every wait over at once, and
one that was, and is right again, would wait for two years. The price is that another leader waits from the beginning.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable


@dataclass(slots=True)
class DurationTracker:
    """What is waited for, one thing a key, and since when, in seconds of one clock."""

    _since: dict[str, tuple[Hashable, float]] = field(default_factory=dict)

    def held(self, key: str, what: Hashable, now: float) -> float:
        """Seconds for which `what` has been said of `key` without anything else between; None for nothing at all."""
        if what is None:
            self._since.pop(key, None)
            return 0.0
        if key not in self._since or self._since[key][0] != what:
            self._since[key] = (what, now)
        return now - self._since[key][1]

    def forget(self, key: str) -> None:
        """Drops what is known of `key`."""
        self._since.pop(key, None)

    def clear(self) -> None:
        """Drops everything: who has not been looking cannot say that nothing was in between."""
        self._since.clear()
