"""The hosts file as a file: writers that are killed, disks that are full, others who write it too."""

from __future__ import annotations

import base64
import io
import json
import os
import resource
import shutil
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostess.hostsfile import hosts_block
from hostess.hostsfile.hosts_file import HostsFile, MountReplaced, _common, _write_over, is_between
from hostess.node_state import NodeConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from typing_extensions import Buffer

FOREIGN = b"127.0.0.1 localhost\n10.0.0.9 by.hand\n"
IP = ("10.96.0.7",)
CONTENT = st.binary(max_size=60)
MIRRORS = st.lists(st.sampled_from(["a", "b"]), unique=True)


@pytest.fixture
def file(tmp_path: Path) -> HostsFile:
    (tmp_path / "backup").mkdir()
    (tmp_path / "hosts").write_bytes(FOREIGN)
    return HostsFile(tmp_path / "hosts", tmp_path / "backup/hosts")


def journal(file: HostsFile, before: bytes, after: bytes) -> None:
    """What a writer leaves who is killed after it has said what it is about to do."""
    encoded = {name: base64.b64encode(each).decode() for name, each in (("before", before), ("after", after))}
    file.backup.with_name("hosts.journal").write_text(json.dumps(encoded))


def written(foreign: bytes, mirrors: list[str]) -> bytes:
    for mirror in mirrors:
        foreign = hosts_block.with_entry(foreign, mirror, f"{mirror}.example.com", IP)
    return foreign


@given(CONTENT, CONTENT, st.integers(0, 60))
def test_each_state_on_the_way_from_one_content_to_another_is_known_as_such(
    before: bytes, after: bytes, count: int
) -> None:
    """Written from where they differ, byte after byte, and cut to its length at last."""
    start = _common(before, after)
    place = min(start + count, len(after))
    assert is_between(before, after, after[:place] + before[place:])
    assert is_between(before, after, after[:place].ljust(len(after), b"\0"))


@given(CONTENT, MIRRORS, MIRRORS, st.binary(min_size=1, max_size=20))
def test_what_somebody_else_appends_is_never_taken_for_our_own_half_of_a_write(
    foreign: bytes, old: list[str], new: list[str], added: bytes
) -> None:
    before, after = written(foreign, old), written(foreign, new)
    found = before + added
    if is_between(before, after, found):
        assert after.startswith(found.rstrip(b"\0"))  # what they wrote is what we were about to write


@given(CONTENT, st.data())
def test_what_somebody_else_takes_out_of_their_own_lines_stays_out(foreign: bytes, data: st.DataObject) -> None:
    before = b"x\n" + foreign
    after = written(before, ["a"])
    cut = data.draw(st.integers(0, len(before) - 1))
    assert not is_between(before, after, before[:cut])


@pytest.mark.parametrize("count", range(0, 70, 7))
def test_a_write_that_was_cut_off_is_completed(file: HostsFile, count: int) -> None:
    after = written(FOREIGN, ["a"])
    journal(file, FOREIGN, after)
    file.path.write_bytes(after[: len(FOREIGN) + count])
    file.set("b", "b.example.com", IP)
    assert file.path.read_bytes() == written(FOREIGN, ["a", "b"] if count else ["b"])
    assert not file.backup.with_name("hosts.journal").exists()


def test_a_line_that_others_add_after_a_write_that_was_cut_off_is_kept(file: HostsFile) -> None:
    after = written(FOREIGN, ["a"])
    journal(file, FOREIGN, after)
    file.path.write_bytes(after.partition(b"# END")[0] + b"10.0.0.3\tadded\n")
    file.set("a", "a.example.com", IP)
    file.drop("a")
    assert file.path.read_bytes() == FOREIGN + b"10.0.0.3\tadded\n"


@pytest.mark.parametrize("broken", [b"", b"{", b"[]", b'{"before": 1}', b'{"before": "\xff"}', b"null"])
def test_a_journal_that_is_none_means_that_nothing_was_begun(file: HostsFile, broken: bytes) -> None:
    file.backup.with_name("hosts.journal").write_bytes(broken)
    file.set("a", "a.example.com", IP)
    assert file.path.read_bytes() == written(FOREIGN, ["a"])


def _emptied(file: HostsFile, seconds_ago: float) -> None:
    file.path.write_bytes(b"")
    moment = time.time() - seconds_ago
    os.utime(file.path, (moment, moment))


def test_an_emptied_file_gets_back_the_last_foreign_content(file: HostsFile) -> None:
    file.set("a", "a.example.com", IP)
    _emptied(file, seconds_ago=60)
    file.set("a", "a.example.com", IP)
    assert file.path.read_bytes() == written(FOREIGN, ["a"])


def test_a_file_that_somebody_empties_just_now_is_left_to_them(file: HostsFile) -> None:
    file.set("a", "a.example.com", IP)
    _emptied(file, seconds_ago=0)
    with pytest.raises(TimeoutError, match="writing it"):
        file.set("a", "a.example.com", IP)
    assert file.path.read_bytes() == b""


def test_what_others_change_is_kept_and_backed_up(file: HostsFile) -> None:
    file.set("a", "a.example.com", IP)
    file.path.write_bytes(b"10.0.0.1 new\n" + file.path.read_bytes() + b"10.0.0.2 last\n")
    file.set("b", "b.example.com", IP)
    foreign = b"10.0.0.1 new\n" + FOREIGN + b"10.0.0.2 last\n"
    assert hosts_block.parse(file.path.read_bytes()).foreign == foreign
    assert file.backup.read_bytes() == foreign


def test_what_others_change_is_backed_up_also_where_ours_stays_as_it_is(file: HostsFile) -> None:
    file.set("one", "mirror.example.com", ("10.0.0.1",))
    changed = b"10.9.9.9 by.hand.too\n" + file.path.read_bytes()
    file.path.write_bytes(changed)
    assert not file.set("one", "mirror.example.com", ("10.0.0.1",))
    assert b"by.hand.too" in file.backup.read_bytes()


def test_what_others_write_while_we_are_at_it_is_seen_before_anything_is_overwritten(file: HostsFile) -> None:
    file.path.write_bytes(FOREIGN + b"10.0.0.2 just now\n")
    with pytest.raises(TimeoutError, match="somebody else"):
        file._overwrite(FOREIGN, written(FOREIGN, ["a"]))
    assert file.path.read_bytes() == FOREIGN + b"10.0.0.2 just now\n"


@pytest.mark.timeout(30)  # it takes a tenth of a second, and took minutes
def test_a_hosts_file_of_megabytes_is_written_as_any_other(file: HostsFile) -> None:
    """As where somebody blocks tens of thousands of names by it."""
    many = FOREIGN + b"".join(b"0.0.0.0 blocked-%d.example.com\n" % number for number in range(80_000))
    file.path.write_bytes(many)
    file.set("a", "a.example.com", IP)
    file.path.write_bytes(file.path.read_bytes() + many)  # behind our block too
    file.set("a", "a.example.com", ("10.0.0.2",))
    file.drop("a")
    assert file.path.read_bytes() == many + many
    with file.path.open("ab") as stream:
        stream.truncate(10_000_000)
    with pytest.raises(NodeConfigError, match="larger than the agent can hold"):
        file.set("a", "a.example.com", IP)


def test_a_hosts_file_that_is_a_directory_is_told(file: HostsFile) -> None:
    """As the runtime makes it where there is none, when it restarts an agent just then."""
    file.path.unlink(missing_ok=True)
    file.path.mkdir()
    with pytest.raises(NodeConfigError, match=r"is a directory, .* remove it"):
        file.set("a", "a.example.com", IP)


def test_a_mounted_file_that_was_replaced_by_a_rename_is_not_written(tmp_path: Path) -> None:
    """As a mount shows it: open, without a name any more, and so with no link."""
    gone = tmp_path / "hosts"
    gone.write_bytes(FOREIGN)
    with gone.open("r+b") as stream:
        (tmp_path / "new").write_bytes(b"new\n")
        (tmp_path / "new").rename(gone)
        file = HostsFile(type(tmp_path)(f"/proc/self/fd/{stream.fileno()}"), tmp_path / "backup")
        with pytest.raises(MountReplaced):
            file.entries("a", "a.example.com")
        with pytest.raises(MountReplaced):
            file.set("a", "a.example.com", IP)
    assert gone.read_bytes() == b"new\n"


@pytest.fixture
def no_file_longer_than() -> Iterator[object]:
    """A limit of this process, which ends a write as a full disk does: in the middle, and without an error at first."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("room", [0, 1, 30])
def test_on_a_full_disk_the_file_stays_as_it_was_and_the_reason_is_told(
    file: HostsFile, no_file_longer_than: object, room: int
) -> None:
    no_file_longer_than(len(FOREIGN) + room)  # type: ignore[operator]
    with pytest.raises(NodeConfigError, match="cannot be written") as hindrance:
        file._overwrite(FOREIGN, written(FOREIGN, ["a"]))
    assert hindrance.value.reason == "HostsFileUnwritable"
    assert file.path.read_bytes() == FOREIGN


class Reluctant(io.FileIO):
    """Takes few bytes at a time, as a nearly full disk may."""

    def write(self, content: Buffer, /) -> int:
        """How many were taken."""
        return super().write(bytes(content)[:7])


def test_a_disk_that_takes_only_a_part_is_asked_again(file: HostsFile) -> None:
    after = written(FOREIGN, ["a", "b"])
    with Reluctant(file.path, "r+") as stream:
        _write_over(stream, FOREIGN, after)
    assert file.path.read_bytes() == after


def test_without_room_for_the_backup_the_file_is_not_touched(file: HostsFile, no_file_longer_than: object) -> None:
    no_file_longer_than(10)  # type: ignore[operator]
    with pytest.raises(OSError, match="File too large"):
        file.set("a", "a.example.com", IP)
    assert file.path.read_bytes() == FOREIGN
    no_file_longer_than(1 << 20)  # type: ignore[operator]
    file.set("a", "a.example.com", IP)
    file.drop("a")
    file.retire()
    assert file.path.read_bytes() == FOREIGN
    assert list(file.backup.parent.iterdir()) == []


def without_a_place_for_notes(file: HostsFile) -> None:
    """Neither backup nor journal can be written, as on a full disk."""
    shutil.rmtree(file.backup.parent)
    file.backup.parent.write_bytes(b"")


def test_an_entry_is_taken_out_where_no_note_can_be_taken_of_it(file: HostsFile) -> None:
    """It may hide an upstream behind a mirror that is dead; foreign lines before it are not touched."""
    file.set("one", "registry.example.com", IP)
    file.set("two", "two.example.com", IP)
    without_a_place_for_notes(file)
    file.drop("one")
    assert file.path.read_bytes() == written(FOREIGN, ["two"])
    file.drop("two")
    assert file.path.read_bytes() == FOREIGN


def test_without_a_note_nothing_is_written_that_a_crash_could_make_others_lose(file: HostsFile) -> None:
    file.set("one", "registry.example.com", IP)
    with file.path.open("ab") as stream:
        stream.write(b"10.0.0.10 appended.by.hand\n")
    before = file.path.read_bytes()
    without_a_place_for_notes(file)
    with pytest.raises(OSError, match="Not a directory"):
        file.drop("one")
    with pytest.raises(OSError, match="Not a directory"):
        file.set("two", "two.example.com", IP)
    assert file.path.read_bytes() == before
