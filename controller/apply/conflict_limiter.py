"""Keeps a quarrel slow: where somebody else keeps changing what we put right, repairs become rarer, never none.

A quarrel is about one desired state. Where that itself changed, because a person changed the mirror or a Secret,
what follows is no repair and costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

# So many repairs of one object at once: a person who tries something out, or a rollout of several fields.
FREE_REPAIRS: Final = 5
# Seconds after which one more is free. Two repairs a minute cost the API server nothing, and the right state still
# stands for most of the time against whoever is slower.
SECONDS_PER_REPAIR: Final = 30.0
# What making an object again counts as: its pods go with it, so the first is free and the next comes in three minutes.
REPLACEMENT: Final = 10


@dataclass(slots=True)
class _Quarrel:
    """Repairs of one object of late, towards one desired state: a bucket of tokens. `told`: the world knows of it."""

    desired: int
    spent: float = 0.0
    since: float = 0.0
    told: bool = False


@dataclass(slots=True)
class ConflictLimiter:
    """The quarrels by object. Times are seconds of a monotonic clock; `desired` is a fingerprint."""

    _quarrels: dict[str, _Quarrel] = field(default_factory=dict)

    def wait(self, key: str, desired: int, now: float) -> float:
        """Seconds until `key` may be repaired; 0 where it may be now."""
        quarrel = self._quarrels.get(key)
        if quarrel is None or quarrel.desired != desired:
            return 0.0
        excess = self._spent(quarrel, now) - (FREE_REPAIRS - 1)
        return max(0.0, excess) * SECONDS_PER_REPAIR

    def repaired(self, key: str, desired: int, now: float, cost: int = 1) -> None:
        """Says that `key` was put right just now, which counts as `cost` repairs."""
        quarrel = self._quarrels.get(key)
        if quarrel is None or quarrel.desired != desired:
            quarrel = self._quarrels[key] = _Quarrel(desired, since=now)
        quarrel.spent, quarrel.since, quarrel.told = self._spent(quarrel, now) + cost, now, False

    def news(self, key: str) -> bool:
        """Whether this is the first refusal since the last repair; the next ones are no news."""
        quarrel = self._quarrels[key]
        first, quarrel.told = not quarrel.told, True
        return first

    def forget(self, key: str) -> None:
        """Drops what is remembered of an object that is no more."""
        self._quarrels.pop(key, None)

    @staticmethod
    def _spent(quarrel: _Quarrel, now: float) -> float:
        return max(0.0, quarrel.spent - (now - quarrel.since) / SECONDS_PER_REPAIR)
