"""Test that an interrupted write differs from a foreign one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hostess.hostsfile.hosts_file import _common, is_between
from tests.unit.hostess.test_hosts_file import written

CONTENT = st.binary(max_size=60)
MIRRORS = st.lists(st.sampled_from(["a", "b"]), unique=True)


@given(CONTENT, CONTENT, st.integers(0, 60))
def test_interrupted_write_is_recognised(before: bytes, after: bytes, count: int) -> None:
    """Writes start at the first difference and truncate last."""
    start = _common(before, after)
    place = min(start + count, len(after))
    assert is_between(before, after, after[:place] + before[place:])
    assert is_between(before, after, after[:place].ljust(len(after), b"\0"))


@given(CONTENT, MIRRORS, MIRRORS, st.binary(min_size=1, max_size=20))
def test_foreign_append_is_no_interrupted_write(foreign: bytes, old: list[str], new: list[str], added: bytes) -> None:
    before, after = written(foreign, old), written(foreign, new)
    found = before + added
    if is_between(before, after, found):
        assert after.startswith(found.rstrip(b"\0"))  # a foreign write of the same bytes


@given(CONTENT, st.data())
def test_foreign_removal_is_no_interrupted_write(foreign: bytes, data: st.DataObject) -> None:
    before = b"x\n" + foreign
    after = written(before, ["a"])
    cut = data.draw(st.integers(0, len(before) - 1))
    assert not is_between(before, after, before[:cut])
