"""Test the hosts file with killed writers, full disks and foreign writes."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import resource
import shutil
import time
from typing import TYPE_CHECKING

import pytest

from hostess.hostsfile import hosts_block
from hostess.hostsfile.hosts_file import HostsFile, MountReplaced, _write_over
from hostess.node_state import NodeConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from typing_extensions import Buffer

FOREIGN = b"127.0.0.1 localhost\n10.0.0.9 by.hand\n"
IP = ("10.96.0.7",)


@pytest.fixture
def file(tmp_path: Path) -> HostsFile:
    (tmp_path / "backup").mkdir()
    (tmp_path / "hosts").write_bytes(FOREIGN)
    return HostsFile(tmp_path / "hosts", tmp_path / "backup/hosts")


def journal(file: HostsFile, before: bytes, after: bytes) -> None:
    """Write the journal of a killed agent."""
    encoded = {name: base64.b64encode(each).decode() for name, each in (("before", before), ("after", after))}
    file.backup.with_name("hosts.journal").write_text(json.dumps(encoded))


def written(foreign: bytes, mirrors: list[str]) -> bytes:
    for mirror in mirrors:
        foreign = hosts_block.with_entry(foreign, mirror, f"{mirror}.example.com", IP)
    return foreign


@pytest.mark.parametrize("count", range(0, 70, 7))
def test_interrupted_write_is_completed(file: HostsFile, count: int) -> None:
    after = written(FOREIGN, ["a"])
    journal(file, FOREIGN, after)
    file.path.write_bytes(after[: len(FOREIGN) + count])
    file.set("b", "b.example.com", IP)
    assert file.path.read_bytes() == written(FOREIGN, ["a", "b"] if count else ["b"])
    assert not file.backup.with_name("hosts.journal").exists()


def test_foreign_line_after_interrupted_write_stays(file: HostsFile) -> None:
    after = written(FOREIGN, ["a"])
    journal(file, FOREIGN, after)
    file.path.write_bytes(after.partition(b"# END")[0] + b"10.0.0.3\tadded\n")
    file.set("a", "a.example.com", IP)
    file.remove("a")
    assert file.path.read_bytes() == FOREIGN + b"10.0.0.3\tadded\n"


@pytest.mark.parametrize("broken", [b"", b"{", b"[]", b'{"before": 1}', b'{"before": "\xff"}', b"null"])
def test_broken_journal_is_ignored(file: HostsFile, broken: bytes) -> None:
    file.backup.with_name("hosts.journal").write_bytes(broken)
    file.set("a", "a.example.com", IP)
    assert file.path.read_bytes() == written(FOREIGN, ["a"])


def _emptied(file: HostsFile, seconds_ago: float) -> None:
    file.path.write_bytes(b"")
    moment = time.time() - seconds_ago
    os.utime(file.path, (moment, moment))


def test_emptied_file_is_restored(file: HostsFile) -> None:
    file.set("a", "a.example.com", IP)
    _emptied(file, seconds_ago=60)
    file.set("a", "a.example.com", IP)
    assert file.path.read_bytes() == written(FOREIGN, ["a"])


def test_file_just_emptied_is_left_alone(file: HostsFile) -> None:
    file.set("a", "a.example.com", IP)
    _emptied(file, seconds_ago=0)
    with pytest.raises(TimeoutError, match="writing it"):
        file.set("a", "a.example.com", IP)
    assert file.path.read_bytes() == b""


def test_foreign_changes_are_kept_and_backed_up(file: HostsFile) -> None:
    file.set("a", "a.example.com", IP)
    file.path.write_bytes(b"10.0.0.1 new\n" + file.path.read_bytes() + b"10.0.0.2 last\n")
    file.set("b", "b.example.com", IP)
    foreign = b"10.0.0.1 new\n" + FOREIGN + b"10.0.0.2 last\n"
    assert hosts_block.parse(file.path.read_bytes()).foreign == foreign
    assert file.backup.read_bytes() == foreign


def test_foreign_changes_alone_are_backed_up(file: HostsFile) -> None:
    file.set("one", "mirror.example.com", ("10.0.0.1",))
    changed = b"10.9.9.9 by.hand.too\n" + file.path.read_bytes()
    file.path.write_bytes(changed)
    assert not file.set("one", "mirror.example.com", ("10.0.0.1",))
    assert b"by.hand.too" in file.backup.read_bytes()


def test_concurrent_foreign_write_is_not_overwritten(file: HostsFile) -> None:
    file.path.write_bytes(FOREIGN + b"10.0.0.2 just now\n")
    with pytest.raises(TimeoutError, match="another program"):
        file._overwrite(FOREIGN, written(FOREIGN, ["a"]))
    assert file.path.read_bytes() == FOREIGN + b"10.0.0.2 just now\n"


@pytest.mark.timeout(30)  # seconds; usual are 0.1
def test_hosts_file_of_megabytes_is_written(file: HostsFile) -> None:
    """Some users block ten thousands of names there."""
    many = FOREIGN + b"".join(b"0.0.0.0 blocked-%d.example.com\n" % number for number in range(80_000))
    file.path.write_bytes(many)
    file.set("a", "a.example.com", IP)
    file.path.write_bytes(file.path.read_bytes() + many)  # behind our block too
    file.set("a", "a.example.com", ("10.0.0.2",))
    file.remove("a")
    assert file.path.read_bytes() == many + many
    with file.path.open("ab") as stream:
        stream.truncate(10_000_000)
    with pytest.raises(NodeConfigError, match="larger than"):
        file.set("a", "a.example.com", IP)


def test_hosts_file_that_is_a_directory(file: HostsFile) -> None:
    """Runtimes create a directory for a missing file."""
    file.path.unlink(missing_ok=True)
    file.path.mkdir()
    with pytest.raises(NodeConfigError, match=r"is a directory.* Remove it"):
        file.set("a", "a.example.com", IP)


def test_replaced_mount_is_not_written(tmp_path: Path) -> None:
    """An open file without a name has no links, as a stale mount."""
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


@contextlib.contextmanager
def no_file_longer_than(size: int) -> Iterator[None]:
    """Limit the size of files during the block, so that a write ends in the middle as on a full disk.

    Not in a fixture: pytest would write its report under the limit.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("room", [0, 1, 30])
def test_full_disk_leaves_the_file_unchanged(file: HostsFile, room: int) -> None:
    full = no_file_longer_than(len(FOREIGN) + room)
    with full, pytest.raises(NodeConfigError, match="cannot be written") as caught:
        file._overwrite(FOREIGN, written(FOREIGN, ["a"]))
    assert caught.value.reason == "HostsFileUnwritable"
    assert file.path.read_bytes() == FOREIGN


class Reluctant(io.FileIO):
    """File that takes 7 bytes per write, as a nearly full disk may."""

    def write(self, content: Buffer, /) -> int:
        """Return the number of bytes written."""
        return super().write(bytes(content)[:7])


def test_partial_writes_are_continued(file: HostsFile) -> None:
    after = written(FOREIGN, ["a", "b"])
    with Reluctant(file.path, "r+") as stream:
        _write_over(stream, FOREIGN, after)
    assert file.path.read_bytes() == after


def test_file_without_backup_is_not_touched(file: HostsFile) -> None:
    with no_file_longer_than(10), pytest.raises(OSError, match="File too large"):
        file.set("a", "a.example.com", IP)
    assert file.path.read_bytes() == FOREIGN
    file.set("a", "a.example.com", IP)
    file.remove("a")
    file.delete_backup()
    assert file.path.read_bytes() == FOREIGN
    assert list(file.backup.parent.iterdir()) == []


def block_backup_and_journal(file: HostsFile) -> None:
    """Make backup and journal unwritable, as on a full disk."""
    shutil.rmtree(file.backup.parent)
    file.backup.parent.write_bytes(b"")


def test_entry_is_removed_without_journal(file: HostsFile) -> None:
    """The entry may hide an upstream behind a dead mirror. Foreign lines are not touched."""
    file.set("one", "registry.example.com", IP)
    file.set("two", "two.example.com", IP)
    block_backup_and_journal(file)
    file.remove("one")
    assert file.path.read_bytes() == written(FOREIGN, ["two"])
    file.remove("two")
    assert file.path.read_bytes() == FOREIGN


def test_foreign_lines_need_a_journal(file: HostsFile) -> None:
    file.set("one", "registry.example.com", IP)
    with file.path.open("ab") as stream:
        stream.write(b"10.0.0.10 appended.by.hand\n")
    before = file.path.read_bytes()
    block_backup_and_journal(file)
    with pytest.raises(OSError, match="Not a directory"):
        file.remove("one")
    with pytest.raises(OSError, match="Not a directory"):
        file.set("two", "two.example.com", IP)
    assert file.path.read_bytes() == before
