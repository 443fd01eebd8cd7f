"""Keeps a quarrel slow: where somebody else keeps changing what we put right, repairs become rarer, never none."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

# So many repairs of one object at once: a person who tries something out, or a rollout of several fields.
FREE_REPAIRS: Final = 5
# Seconds after which one more is free. Two repairs a minute cost the API server nothing, and the right state still
# stands for most of the time against whoever is slower.
SECONDS_PER_REPAIR: Final = 30.0


@dataclass(slots=True)
class Contest:
    """Repairs of each object of late: a bucket of tokens each. Times are seconds of a monotonic clock."""

    _spent: dict[str, tuple[float, float]] = field(default_factory=dict)

    def wait(self, key: str, now: float) -> float:
        """Seconds until `key` may be repaired; 0 where it may be now, which then counts as done."""
        spent, since = self._spent.get(key, (0.0, now))
        spent = max(0.0, spent - (now - since) / SECONDS_PER_REPAIR)
        if spent > FREE_REPAIRS - 1:
            self._spent[key] = (spent, now)
            return (spent - (FREE_REPAIRS - 1)) * SECONDS_PER_REPAIR
        self._spent[key] = (spent + 1, now)
        return 0.0

    def forget(self, key: str) -> None:
        """Drops what is remembered of an object that is no more."""
        self._spent.pop(key, None)
