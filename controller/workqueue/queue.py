"""The work queue: each key once, at most one worker a key, backoff per key. A data structure: `now` is given.

A key that is added while a worker has it becomes due again when that worker is done, so that no change is
lost and no mirror is reconciled twice at a time. A key that failed is not tried again at once, whatever is added:
its own writes may be what brings it back. But news shortens its backoff, since it may be what mends the cause.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import Final

# Seconds. The first retry comes fast, as most failures are a conflict with a change that the watch is about to
# bring; the last is rare enough that 500 failing mirrors ask less than twice a second.
FIRST_BACKOFF: Final = 0.02
LONGEST_BACKOFF: Final = 300.0
# How long a key that failed does not heed news, at most: who mends the cause waits no longer than that, and a
# reconcile that wakes itself and fails costs the API server no more than one try a second.
LONGEST_COOLDOWN: Final = 1.0
# Entries of the heap that may be stale beside as many as there are keys: below it, clearing up is not worth its while.
_STALE_MAX: Final = 64


@dataclass(slots=True)
class Queue:
    """Keys and when they are due, in seconds of one clock that never goes backwards."""

    _due: dict[str, float] = field(default_factory=dict)
    _heap: list[tuple[float, str]] = field(default_factory=list)
    _working: set[str] = field(default_factory=set)
    _dirty: set[str] = field(default_factory=set)
    _failures: dict[str, int] = field(default_factory=dict)
    _deaf_until: dict[str, float] = field(default_factory=dict)

    def add(self, key: str, due: float) -> None:
        """Makes `key` due at `due`, or earlier where it already is; not before a key that failed heeds news again."""
        if key in self._working:
            self._dirty.add(key)
            return
        due = max(due, self._deaf_until.get(key, due))
        if due < self._due.get(key, float("inf")):
            self._due[key] = due
            heapq.heappush(self._heap, (due, key))
            self._compact()

    def take(self, now: float) -> str | None:
        """A key that is due, given to the caller until it says `done`; None where nothing is due."""
        self._drop_stale()
        if not self._heap or self._heap[0][0] > now:
            return None
        _, key = heapq.heappop(self._heap)
        del self._due[key]
        self._working.add(key)
        return key

    def next_due(self) -> float | None:
        """When the next key is due; None while there is none."""
        self._drop_stale()
        return self._heap[0][0] if self._heap else None

    def done(self, key: str, now: float, again_at: float | None = None, cooldown: float = 0.0) -> None:
        """Gives `key` back, due again at `again_at` if that is given, at once if it was added meanwhile.

        Whatever was or will be added, it is not due for `deaf` seconds.
        """
        self._working.discard(key)
        self._failures.pop(key, None)
        self._deaf_until.pop(key, None)
        if cooldown:
            self._deaf_until[key] = now + cooldown
        if key in self._dirty:
            self._dirty.discard(key)
            again_at = now
        if again_at is not None:
            self.add(key, again_at)

    def failed(self, key: str, now: float, at_least: float = 0.0) -> float:
        """Gives `key` back after a failure, to be due after a backoff; earlier if it was added meanwhile.

        Returns the seconds until it is due. The backoff is twice the last one, not below `at_least`, which news does
        not shorten either, and never above the longest: a server that asks for years is mistaken.
        """
        self._working.discard(key)
        count = self._failures[key] = self._failures.get(key, 0) + 1
        # 2 to the power of 14 is past the longest backoff; the bound keeps the number small for ever.
        backoff = min(LONGEST_BACKOFF, max(FIRST_BACKOFF * 2.0 ** min(count - 1, 14), at_least))
        deafness = min(backoff, max(LONGEST_COOLDOWN, at_least))
        self._deaf_until[key] = now + deafness
        wait = deafness if key in self._dirty else backoff
        self._dirty.discard(key)
        self.add(key, now + wait)
        return wait

    def failures(self, key: str) -> int:
        """How many times in a row `key` has failed."""
        return self._failures.get(key, 0)

    def depth(self, now: float) -> int:
        """Keys that are due and wait for a worker."""
        return sum(due <= now for due in self._due.values())

    def __len__(self) -> int:
        """Keys that wait, due or not, without those that workers have."""
        return len(self._due)

    def _drop_stale(self) -> None:
        """Entries of the heap that an earlier `add` of the same key has replaced."""
        while self._heap and self._due.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)

    def _compact(self) -> None:
        """Stale entries that lie far ahead (a look in twelve hours, replaced by each event) would pile up otherwise."""
        if len(self._heap) > 2 * len(self._due) + _STALE_MAX:
            self._heap = [(due, key) for key, due in self._due.items()]
            heapq.heapify(self._heap)
