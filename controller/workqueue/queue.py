"""Queue keys without duplicates, for one worker per key, with backoff per key. Pure: `now` is an argument.

A key added during its reconcile is due again afterwards. A failed key has a cooldown, since its own writes may add it.
Adding a failed key shortens its backoff to the cooldown: the change may remove the cause.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import Final

# Seconds. The first retry is fast: most failures are conflicts, and the watch brings the change within milliseconds.
# With the longest, 500 failing mirrors cause less than two reconciles a second.
FIRST_BACKOFF: Final = 0.02
LONGEST_BACKOFF: Final = 300.0
# Seconds. A reconcile whose own writes add its key, and that fails, runs once a second at most.
LONGEST_COOLDOWN: Final = 1.0
# Stale entries that the heap may hold beyond one per key.
_STALE_MAX: Final = 64


@dataclass(slots=True)
class Queue:
    """Hold keys and their due times, in seconds of a monotonic clock."""

    _due: dict[str, float] = field(default_factory=dict)
    _heap: list[tuple[float, str]] = field(default_factory=list)
    _working: set[str] = field(default_factory=set)
    _added_in_work: set[str] = field(default_factory=set)
    _failures: dict[str, int] = field(default_factory=dict)
    _cooldown_until: dict[str, float] = field(default_factory=dict)

    def add(self, key: str, due: float) -> None:
        """Make `key` due at `due` unless it is due earlier, but not before its cooldown ends."""
        if key in self._working:
            self._added_in_work.add(key)
            return
        due = max(due, self._cooldown_until.get(key, due))
        if due < self._due.get(key, float("inf")):
            self._due[key] = due
            heapq.heappush(self._heap, (due, key))
            self._compact()

    def take(self, now: float) -> str | None:
        """Return a due key, or None; the caller owns it until `done` or `failed`."""
        self._drop_stale()
        if not self._heap or self._heap[0][0] > now:
            return None
        _, key = heapq.heappop(self._heap)
        del self._due[key]
        self._working.add(key)
        return key

    def next_due(self) -> float | None:
        """Return when the next key is due, or None."""
        self._drop_stale()
        return self._heap[0][0] if self._heap else None

    def done(self, key: str, now: float, requeue_at: float | None = None, cooldown: float = 0.0) -> None:
        """Return `key` after a success. It is due at `requeue_at`, or at once if it was added meanwhile.

        In either case it is not due within `cooldown` seconds.
        """
        self._working.discard(key)
        self._failures.pop(key, None)
        self._cooldown_until.pop(key, None)
        if cooldown:
            self._cooldown_until[key] = now + cooldown
        if key in self._added_in_work:
            self._added_in_work.discard(key)
            requeue_at = now
        if requeue_at is not None:
            self.add(key, requeue_at)

    def failed(self, key: str, now: float, at_least: float = 0.0) -> float:
        """Return `key` after a failure. The result is its backoff in seconds, from `at_least` to the longest.

        The backoff doubles with each failure. A key added meanwhile is due after its cooldown.
        """
        self._working.discard(key)
        count = self._failures[key] = self._failures.get(key, 0) + 1
        # 2 to the power of 14 exceeds the longest backoff; the bound prevents an overflow.
        backoff = min(LONGEST_BACKOFF, max(FIRST_BACKOFF * 2.0 ** min(count - 1, 14), at_least))
        cooldown = min(backoff, max(LONGEST_COOLDOWN, at_least))
        self._cooldown_until[key] = now + cooldown
        wait = cooldown if key in self._added_in_work else backoff
        self._added_in_work.discard(key)
        self.add(key, now + wait)
        return wait

    def failures(self, key: str) -> int:
        """Return how many times in a row `key` has failed."""
        return self._failures.get(key, 0)

    def depth(self, now: float) -> int:
        """Return the number of due keys waiting for a worker."""
        return sum(due <= now for due in self._due.values())

    def __len__(self) -> int:
        """Return the number of waiting keys, due or not."""
        return len(self._due)

    def _drop_stale(self) -> None:
        """Remove heap entries that were replaced by an earlier due time."""
        while self._heap and self._due.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)

    def _compact(self) -> None:
        """Rebuild the heap if most of it is stale: requeues months ahead, each replaced by an event."""
        if len(self._heap) > 2 * len(self._due) + _STALE_MAX:
            self._heap = [(due, key) for key, due in self._due.items()]
            heapq.heapify(self._heap)
