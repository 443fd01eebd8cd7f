"""Write the node's hosts file. It is a mount, so it can only be written in place, and a crash must lose nothing.

A journal holds the content before and after each write; an interrupted write is completed from it. The backup holds
the last foreign content and restores an emptied file.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from common.agent_protocol import HOSTS_FILE_UNWRITABLE
from hostess.fs import atomic
from hostess.hostsfile import hosts_block, mountinfo
from hostess.node_state import NodeConfigError

if TYPE_CHECKING:
    import re
    from io import FileIO
    from pathlib import Path

_JOURNAL = ".journal"
_PART = ".part"
# Seconds. A program that rewrites the file is done by then; a file that is still empty stays empty.
SETTLED: Final = 2.0
# Bytes of a hosts file. A round needs twelve times as much memory, of the agent's 128 MB.
MAX_SIZE: Final = 6 * 1024 * 1024
_PART_SIZE: Final = 1 << 20  # bytes
_OVERLAP: Final = 100  # bytes; longer than the first line of a block


class MountReplaced(Exception):
    """A mounted file or folder is no longer the node's: it was removed or replaced there."""


@dataclass(frozen=True, slots=True)
class HostsFile:
    """Hosts file and its backup. Call methods under the lock. They raise OSError and MountReplaced.

    `source` is the first mount at `path` (see mountinfo); None without a mount.
    """

    path: Path
    backup: Path
    source: str | None = None

    def set(self, mirror: str, host: str, addresses: tuple[str, ...]) -> bool:
        """Set the addresses of `host`; return True if they changed."""
        before = self._repaired()
        after = hosts_block.with_entry(before, mirror, host, addresses)
        self._keep_foreign(before)  # also if our lines are unchanged: foreign lines may have changed
        self._write(before, after)
        return before != after

    def remove(self, mirror: str) -> None:
        """Remove the mirror's block. A file without it needs no write, and may be one that no agent can write."""
        if not self.has_block(mirror):
            return
        before = self._repaired()
        self._write(before, hosts_block.without_entry(before, mirror))

    def has_name(self, host: str) -> bool:
        """Return True if another program wrote a line for `host`."""
        return hosts_block.has_name(self._read(), host)

    def remove_name(self, host: str) -> None:
        """Remove the lines of another program that have no other name than `host`."""
        if self.has_name(host):
            before = self._repaired()
            self._write(before, hosts_block.without_name(before, host))

    def entries(self, mirror: str, host: str) -> tuple[str, ...]:
        """Return the addresses of `host` in the mirror's block."""
        return hosts_block.addresses(self._read(), mirror, host)

    def contradiction(self, host: str, addresses: tuple[str, ...]) -> str:
        """Return the first foreign line that gives `host` another address; empty without one."""
        return hosts_block.contradiction(self._read(), host, addresses)

    def mirrors(self) -> list[str]:
        """Return the mirrors that have a block in the file."""
        return list(hosts_block.parse(self._read()).blocks)

    def has_block(self, mirror: str = "") -> bool:
        """Return True if an agent may have written a block of `mirror`, or of any mirror if it is empty.

        A file of any size is read in parts. Raises OSError if the file cannot be read, and an agent wrote it before.
        """
        size = self._stat().st_size
        if size == 0 or self._journal.exists():  # another program may be writing it, or an agent was interrupted
            return True
        try:
            return _contains(self.path, hosts_block.begin_of(mirror))
        except IsADirectoryError:
            return False
        except PermissionError:
            if self.backup.exists():  # written before each first write
                raise
            return False

    def delete_backup(self) -> None:
        """Remove backup and journal, after the last mirror."""
        for path in (self.backup, self._journal, self._part):
            atomic.remove(path)

    def _stat(self) -> os.stat_result:
        found = self.path.stat()
        if found.st_nlink == 0 or (self.source is not None and mountinfo.source_of(self.path) != self.source):
            raise MountReplaced
        return found

    def _read(self) -> bytes:
        found = self._stat()
        if found.st_size > MAX_SIZE:
            raise NodeConfigError(
                HOSTS_FILE_UNWRITABLE,
                f"the node's hosts file is larger than {MAX_SIZE >> 20} MB. Shorten it.",
            )
        try:
            return self.path.read_bytes()
        except IsADirectoryError as error:
            raise NodeConfigError(
                HOSTS_FILE_UNWRITABLE,
                "the node's hosts file is a directory, as runtimes create one for a missing file. Remove it and write"
                " the file. The agent then gets a new pod.",
            ) from error

    def _is_being_written(self) -> bool:
        """Return True if another program has just emptied the file and may still write to it."""
        return abs(time.time() - self.path.stat().st_mtime) < SETTLED

    def _repaired(self) -> bytes:
        """Return the content, after completing an interrupted write."""
        content, journal = self._read(), atomic.read_or_none(self._journal)
        if content == b"" and self._is_being_written():
            raise TimeoutError(f"{self.path} is empty, and another program is writing it")
        interrupted = None if journal is None else _parse_journal(journal)
        if interrupted is not None and content != interrupted[0] and is_between(*interrupted, content):
            content = self._overwrite(content, interrupted[1])
        elif content == b"" and (foreign := atomic.read_or_none(self.backup)):
            # A foreign write was interrupted; no node works with an empty file.
            content = self._overwrite(content, foreign)
        if journal is not None:
            atomic.remove(self._journal)
        return content

    def _keep_foreign(self, content: bytes) -> None:
        foreign = hosts_block.parse(content).foreign
        if atomic.read_or_none(self.backup) != foreign:
            atomic.replace(self.backup, foreign, self._part.name)

    def _write(self, before: bytes, after: bytes) -> None:
        if before == after:
            return
        try:
            self._keep_foreign(before)
            atomic.replace(self._journal, _render_journal(before, after), self._part.name)
        except OSError:
            # A full disk, for example. Still remove a dead mirror's entry if only our blocks change.
            if len(after) > len(before) or _common(before, after) < len(hosts_block.parse(before).foreign):
                raise
            self._overwrite(before, after)
            return
        self._overwrite(before, after)
        atomic.remove(self._journal)

    def _overwrite(self, before: bytes, after: bytes) -> bytes:
        """Write only the difference. Foreign lines come before our blocks and stay untouched.

        Raises TimeoutError after a foreign write meanwhile; NodeConfigError with the file as it was.
        """
        try:
            with self.path.open("r+b", buffering=0) as stream:
                _write_whole(stream, before, after)
        except TimeoutError:
            raise
        except OSError as error:
            raise NodeConfigError(
                HOSTS_FILE_UNWRITABLE,
                f"the node's hosts file cannot be written ({error.strerror}). Make /etc/hosts writable for root.",
            ) from error
        return after

    @property
    def _journal(self) -> Path:
        return self.backup.with_name(self.backup.name + _JOURNAL)

    @property
    def _part(self) -> Path:
        return self.backup.with_name(self.backup.name + _PART)


def _contains(path: Path, pattern: re.Pattern[bytes]) -> bool:
    """Return True if the file contains the pattern, also across the border of two parts."""
    end = b""
    with path.open("rb") as stream:
        while part := stream.read(_PART_SIZE):
            if pattern.search(end + part):
                return True
            end = part[-_OVERLAP:]
    return False


def _write_whole(stream: FileIO, before: bytes, after: bytes) -> None:
    """Replace the content `before` with `after`, or restore it. Raises OSError; TimeoutError for other content."""
    if stream.read() != before:
        raise TimeoutError(f"{stream.name} is being changed by another program")
    try:
        _write_over(stream, before, after)
    except OSError:
        with contextlib.suppress(OSError):  # a full disk has room for the old content
            _write_over(stream, after, before)
        raise


def _write_over(stream: FileIO, before: bytes, after: bytes) -> None:
    """Write `after` over `before`. One write may be partial on a full disk."""
    position = _common(before, after)
    stream.seek(position)
    while position < len(after):
        position += stream.write(after[position:])
    stream.truncate(len(after))
    os.fsync(stream.fileno())


def is_between(before: bytes, after: bytes, found: bytes) -> bool:
    """Return True if `found` is an interrupted write of `after` over `before`.

    It starts as `after` and continues as `before`; after a power failure also with nothing or zeros.
    """
    done = _common(after, found)
    if done < _common(before, after):
        return False  # a foreign write before our part
    if done >= len(found.rstrip(b"\0")):
        return True
    kept = _common(before[::-1], found[::-1])
    return len(found) == len(before) and len(found) - kept <= done


def _common(one: bytes, other: bytes) -> int:
    """Return the length of the common prefix, by bisection: comparing slices is fast for megabytes."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _render_journal(before: bytes, after: bytes) -> bytes:
    encoded = {"before": base64.b64encode(before).decode(), "after": base64.b64encode(after).decode()}
    return json.dumps(encoded).encode()


def _parse_journal(journal: bytes) -> tuple[bytes, bytes] | None:
    """Return the contents before and after; None for a foreign or broken journal: nothing was written yet."""
    try:
        document = json.loads(journal)
        return base64.b64decode(document["before"]), base64.b64decode(document["after"])
    except (ValueError, KeyError, TypeError):
        return None
