"""The work queue: each key once, at most one worker a key, backoff per key. A data structure: `now` is given.

A key that is added while a worker has it becomes due again when that worker is done, so that no change is
lost and no mirror is reconciled twice at a time.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import Final

# Seconds. The first retry comes fast, as most failures are a conflict with a change that the watch is about to
# bring; the last is rare enough that 500 failing mirrors ask less than twice a second.
FIRST_BACKOFF: Final = 0.02
LONGEST_BACKOFF: Final = 300.0


@dataclass(slots=True)
class Queue:
    """Keys and when they are due, in seconds of one clock that never goes backwards."""

    _due: dict[str, float] = field(default_factory=dict)
    _heap: list[tuple[float, str]] = field(default_factory=list)
    _working: set[str] = field(default_factory=set)
    _dirty: set[str] = field(default_factory=set)
    _failures: dict[str, int] = field(default_factory=dict)

    def add(self, key: str, due: float) -> None:
        """Makes `key` due at `due`, or earlier where it already is."""
        if key in self._working:
            self._dirty.add(key)
        elif due < self._due.get(key, float("inf")):
            self._due[key] = due
            heapq.heappush(self._heap, (due, key))

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

    def done(self, key: str, now: float, again_at: float | None = None) -> None:
        """Gives `key` back, due again at `again_at` if that is given, at once if it was added meanwhile."""
        self._working.discard(key)
        self._failures.pop(key, None)
        self._give_back(key, now, again_at)

    def failed(self, key: str, now: float, at_least: float = 0.0) -> float:
        """Gives `key` back after a failure, to be due after a backoff.

        Returns the backoff in seconds: twice the last one, and never below `at_least`.
        """
        self._working.discard(key)
        count = self._failures[key] = self._failures.get(key, 0) + 1
        # 2 to the power of 14 is past the longest backoff; the bound keeps the number small for ever.
        backoff = max(min(LONGEST_BACKOFF, FIRST_BACKOFF * 2.0 ** min(count - 1, 14)), at_least)
        self._dirty.discard(key)
        self.add(key, now + backoff)
        return backoff

    def forget(self, key: str) -> None:
        """Drops what is remembered of a key that is no more."""
        self._failures.pop(key, None)

    def __len__(self) -> int:
        """Keys that wait, due or not, without those that workers have."""
        return len(self._due)

    def _give_back(self, key: str, now: float, again_at: float | None) -> None:
        if key in self._dirty:
            self._dirty.discard(key)
            again_at = now
        if again_at is not None:
            self.add(key, again_at)

    def _drop_stale(self) -> None:
        """Entries of the heap that an earlier `add` of the same key has replaced."""
        while self._heap and self._due.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
