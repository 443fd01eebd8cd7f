"""Rate limit for repairs: if another writer keeps changing an object, repair it less often, but never stop.

A limit holds for one object and one desired state. A change of the desired state is no repair and costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

# Repairs of one object without a wait: a user who tries something out, or a rollout of several fields.
FREE_REPAIRS: Final = 5
# Seconds until one more repair is free. Two a minute are cheap, and keep the object right against slow writers.
SECONDS_PER_REPAIR: Final = 30.0
# Cost of replacing an object, in repairs, since its pods are replaced too: the first is free, the next 3 minutes later.
REPLACEMENT: Final = 10
# Seconds until a write that an admission webhook changed is repeated, doubling. Most webhooks stay.
FIRST_PAUSE: Final = 60.0
LONGEST_PAUSE: Final = 3600.0


@dataclass(slots=True)
class _Repairs:
    """Recent repairs of one object towards one desired state: a token bucket.

    `mutated` are the fields that an admission webhook changed in the last write, `retry_at` is when to repeat it.
    """

    desired: int
    spent: float = 0.0
    since: float = 0.0
    is_reported: bool = False
    mutated: tuple[str, ...] = ()
    pause: float = 0.0
    retry_at: float = 0.0

    def spent_at(self, now: float) -> float:
        return max(0.0, self.spent - (now - self.since) / SECONDS_PER_REPAIR)

    def excess_at(self, now: float) -> float:
        return max(0.0, self.spent_at(now) - (FREE_REPAIRS - 1))


@dataclass(slots=True)
class ConflictLimiter:
    """Repairs by object. Times are monotonic seconds; `desired` is a hash of the desired state."""

    _repairs: dict[str, _Repairs] = field(default_factory=dict)

    def wait(self, key: str, desired: int, now: float, fields: tuple[str, ...] = ()) -> float:
        """Return the seconds until `key` may be repaired, 0 if now. `fields` are those that differ."""
        repairs = self._repairs.get(key)
        if repairs is None or repairs.desired != desired:
            return 0.0
        pause = repairs.retry_at - now if fields and fields == repairs.mutated else 0.0
        return max(pause, repairs.excess_at(now) * SECONDS_PER_REPAIR)

    def record_repair(self, key: str, desired: int, now: float, cost: int = 1) -> None:
        """Record a repair, which counts as `cost` repairs."""
        repairs = self._repairs_of(key, desired)
        spent = repairs.spent_at(now)
        repairs.is_reported = repairs.is_reported and spent > 0
        repairs.spent, repairs.since = spent + cost, now

    def is_new_conflict(self, key: str, now: float) -> bool:
        """Return True once per conflict. It ends when all free repairs are available again."""
        repairs = self._repairs[key]
        if repairs.is_reported or not repairs.excess_at(now):
            return False
        repairs.is_reported = True
        return True

    def record_mutation(self, key: str, desired: int, fields: tuple[str, ...], now: float) -> bool:
        """Record the fields that an admission webhook changed in a write, if any. Return True if they are new."""
        if not fields:
            if key in self._repairs:
                self._repairs[key].mutated = ()
            return False
        repairs = self._repairs_of(key, desired)
        is_new = repairs.mutated != fields
        repairs.pause = FIRST_PAUSE if is_new else min(2 * repairs.pause, LONGEST_PAUSE)
        repairs.mutated, repairs.retry_at = fields, now + repairs.pause
        return is_new

    def _repairs_of(self, key: str, desired: int) -> _Repairs:
        repairs = self._repairs.get(key)
        if repairs is None or repairs.desired != desired:
            repairs = self._repairs[key] = _Repairs(desired)
        return repairs
