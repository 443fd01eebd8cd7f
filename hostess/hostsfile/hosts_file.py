"""The node's hosts file as a file: a mount, so that it can only be written in place, and a crash must lose nothing.

Before the file is touched a journal says what it held and what it will hold; a file that is found between the two is
completed. The backup holds the last foreign content: it is what an emptied file gets back.
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
    from io import FileIO
    from pathlib import Path

_JOURNAL = ".journal"
_PART = ".part"
# Seconds. Whoever empties the file to write it anew is done by then; one that is still empty was left so.
SETTLED: Final = 2.0
# Bytes of a hosts file. With before and after, and the journal of both, a look takes some twelve times as much, of the
# agent's 128 MB; one that is ended for it again and again would take no dead mirror out of the node's way.
MOST: Final = 6 * 1024 * 1024


class MountReplaced(Exception):
    """The hosts file that is mounted here is no longer the node's: somebody has removed it, or put another there."""


@dataclass(frozen=True, slots=True)
class HostsFile:
    """The file and its backup. Every method is called under the lock, and raises OSError or Replaced.

    `source` is what was mounted at `path` at first (see mounts); None where it is no mount.
    """

    path: Path
    backup: Path
    source: str | None = None

    def set(self, mirror: str, host: str, addresses: tuple[str, ...]) -> bool:
        """Gives `host` these addresses on the node; whether it had others, or none."""
        before = self._mended()
        after = hosts_block.with_entry(before, mirror, host, addresses)
        self._keep_foreign(before)  # also where ours need no change: others may have changed theirs
        self._write(before, after)
        return before != after

    def drop(self, mirror: str) -> None:
        """Takes the mirror's block out."""
        before = self._mended()
        self._write(before, hosts_block.without_entry(before, mirror))

    def entries(self, mirror: str, host: str) -> tuple[str, ...]:
        """Addresses of `host` in the mirror's block."""
        return hosts_block.addresses(self._read(), mirror, host)

    def mirrors(self) -> list[str]:
        """Mirrors that have a block in the file."""
        return list(hosts_block.parse(self._read()).blocks)

    def retire(self) -> None:
        """Removes backup and journal, once no mirror has a block any more."""
        for path in (self.backup, self._journal, self._part):
            atomic.remove(path)

    def _read(self) -> bytes:
        found = self.path.stat()
        if found.st_nlink == 0 or (self.source is not None and mountinfo.source_of(self.path) != self.source):
            raise MountReplaced
        if found.st_size > MOST:
            raise NodeConfigError(
                HOSTS_FILE_UNWRITABLE, f"the node's hosts file is larger than the agent can hold ({MOST >> 20} MB)."
            )
        try:
            return self.path.read_bytes()
        except IsADirectoryError as error:
            raise NodeConfigError(
                HOSTS_FILE_UNWRITABLE,
                "the node's hosts file is a directory, as runtimes make one where nothing is: remove it, and write the"
                " file; the agent gets a new pod then.",
            ) from error

    def _is_being_written(self) -> bool:
        """Whether somebody has just emptied the file: what we wrote then would be mixed with what they write."""
        return abs(time.time() - self.path.stat().st_mtime) < SETTLED

    def _mended(self) -> bytes:
        """The content, after completing what a killed writer began."""
        content, journal = self._read(), atomic.content_of(self._journal)
        if content == b"" and self._is_being_written():
            raise TimeoutError(f"{self.path} is empty, and somebody is writing it just now")
        begun = None if journal is None else _parsed(journal)
        if begun is not None and content != begun[0] and is_between(*begun, content):
            content = self._overwrite(content, begun[1])
        elif content == b"" and (foreign := atomic.content_of(self.backup)):
            # No node works with an empty one: somebody else's write was cut short.
            content = self._overwrite(content, foreign)
        if journal is not None:
            atomic.remove(self._journal)
        return content

    def _keep_foreign(self, content: bytes) -> None:
        foreign = hosts_block.parse(content).foreign
        if atomic.content_of(self.backup) != foreign:
            atomic.replace(self.backup, foreign, self._part.name)

    def _write(self, before: bytes, after: bytes) -> None:
        if before == after:
            return
        try:
            self._keep_foreign(before)
            atomic.replace(self._journal, _rendered(before, after), self._part.name)
        except OSError:
            # A full disk, say. A dead mirror's entry is taken out all the same, if that touches nothing but our blocks.
            if len(after) > len(before) or _common(before, after) < len(hosts_block.parse(before).foreign):
                raise
            self._overwrite(before, after)
            return
        self._overwrite(before, after)
        atomic.remove(self._journal)

    def _overwrite(self, before: bytes, after: bytes) -> bytes:
        """Writes what differs only: foreign lines stand before our blocks, and so are not even touched.

        Raises TimeoutError where somebody else has written meanwhile; Hindrance with the file as it was.
        """
        try:
            with self.path.open("r+b", buffering=0) as stream:
                _write_whole(stream, before, after)
        except TimeoutError:
            raise
        except OSError as error:
            raise NodeConfigError(
                HOSTS_FILE_UNWRITABLE,
                f"the node's hosts file cannot be written ({error.strerror}); where /etc/hosts is read-only nodes"
                " can have no entry for the mirror.",
            ) from error
        return after

    @property
    def _journal(self) -> Path:
        return self.backup.with_name(self.backup.name + _JOURNAL)

    @property
    def _part(self) -> Path:
        return self.backup.with_name(self.backup.name + _PART)


def _write_whole(stream: FileIO, before: bytes, after: bytes) -> None:
    """Makes a file that is `before` `after`, or leaves it. Raises OSError; TimeoutError where it is another."""
    if stream.read() != before:
        raise TimeoutError(f"{stream.name} is being changed by somebody else")
    try:
        _write_over(stream, before, after)
    except OSError:
        with contextlib.suppress(OSError):  # a disk that is full has room for what was there
            _write_over(stream, after, before)
        raise


def _write_over(stream: FileIO, before: bytes, after: bytes) -> None:
    """Makes a file that is `before` `after`. One call need not write all: on a full disk it writes what finds room."""
    place = _common(before, after)
    stream.seek(place)
    while place < len(after):
        place += stream.write(after[place:])
    stream.truncate(len(after))
    os.fsync(stream.fileno())


def is_between(before: bytes, after: bytes, found: bytes) -> bool:
    """Whether `found` is a file that was `before` while `after` was being written over it, from where the two differ.

    Then it is `after` as far as that came, and still `before` from there on; or, on a disk that lost power, nothing or
    zeros from there on.
    """
    done = _common(after, found)
    if done < _common(before, after):
        return False  # where nothing was to be written somebody else did
    if done >= len(found.rstrip(b"\0")):
        return True
    kept = _common(before[::-1], found[::-1])
    return len(found) == len(before) and len(found) - kept <= done


def _common(one: bytes, other: bytes) -> int:
    """How many bytes the two begin with alike."""
    alike, others = 0, min(len(one), len(other))
    while alike < others:  # by halves, as bytes are compared by the thousand at once, and a hosts file may be megabytes
        middle = (alike + others + 1) // 2
        if one[alike:middle] == other[alike:middle]:
            alike = middle
        else:
            others = middle - 1
    return alike


def _rendered(before: bytes, after: bytes) -> bytes:
    encoded = {"before": base64.b64encode(before).decode(), "after": base64.b64encode(after).decode()}
    return json.dumps(encoded).encode()


def _parsed(journal: bytes) -> tuple[bytes, bytes] | None:
    """What a journal holds; None where it holds nothing that we wrote: then nothing was begun."""
    try:
        document = json.loads(journal)
        return base64.b64decode(document["before"]), base64.b64decode(document["after"])
    except (ValueError, KeyError, TypeError):
        return None
