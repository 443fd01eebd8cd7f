"""The choice of the files that go."""

from __future__ import annotations

import tracemalloc
from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from cache.store.eviction import Entry, least_used

FILES = st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 50)), unique_by=lambda each: each[0], max_size=30)


@given(FILES, st.integers(-10, 500), st.integers(0, 10))
def test_least_used_files_go(files: list[tuple[int, int]], size: int, count: int) -> None:
    """They are the shortest beginning of all files by last use that has the size and the count."""
    found = [Entry(float(used), each, str(used)) for used, each in files]
    by_use = sorted(found)
    sums = [0, *accumulate(each.size for each in by_use)]
    needed = next((number for number, total in enumerate(sums) if total >= size and number >= count), len(found))
    assert sorted(least_used(found, size, count)) == by_use[:needed]


def test_large_volume_costs_little_memory() -> None:
    """The choice among twenty thousand files keeps only those that go."""
    tracemalloc.start()
    found = (Entry(float(number * 7919 % 20_011), 4096, f"{number:0140}") for number in range(20_000))
    assert len(least_used(found, 4096 * 100, 0)) == 100
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100_000
