"""Write files on the node so that a crash leaves them whole, and lock them between the agents of all mirrors."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Seconds. Agents hold the lock for milliseconds. A stopped agent must not block the others for good; they try again in
# the next round.
LOCK_DEADLINE: Final = 5.0
LOCK_PAUSE: Final = 0.02  # seconds between two tries; flock has no deadline of its own
MODE: Final = 0o644  # containerd and docker run as root, administrators may not
FILE_MAX: Final = 1 << 20  # bytes; a hosts.toml has some hundred, and names each foreign CA in one line
# Limits of the agent, which say nothing about a file.
_OWN_LIMITS: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})


def read_or_none(path: Path) -> bytes | None:
    """Return the content of a file; None if it does not exist."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None


def read_if_ours(path: Path) -> bytes | None:
    """Return the content of a file that an agent may have written; None if no agent can have written it.

    Agents write small regular files that all of them can read. Anything else is foreign: a directory, a pipe, a file
    of another user, a file system that does not answer.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in _OWN_LIMITS:
            raise
        return None
    try:
        status = os.fstat(fd)
        return os.read(fd, FILE_MAX) if stat.S_ISREG(status.st_mode) and status.st_size <= FILE_MAX else None
    except OSError:
        return None
    finally:
        os.close(fd)


def replace(path: Path, content: bytes, part: str) -> None:
    """Write a file by rename, so that readers see a whole file. `part` is the name of the unfinished one beside it."""
    unfinished = path.with_name(part)
    with unfinished.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fchmod(stream.fileno(), MODE)
        os.fsync(stream.fileno())
    unfinished.replace(path)
    sync_folder(path.parent)


def remove(path: Path) -> bool:
    """Remove a file; return True if it existed."""
    if not os.path.lexists(path):  # a read-only file system refuses to remove even what is not there
        return False
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    with contextlib.suppress(FileNotFoundError):  # another agent may have removed the empty folder meanwhile
        sync_folder(path.parent)
    return True


def sync_folder(path: Path) -> None:
    """Write renames and removals in a folder to the disk."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file, which its holder may remove. Raises TimeoutError."""
    deadline = time.monotonic() + LOCK_DEADLINE
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, MODE)
        try:
            if _try_lock(fd) and is_current(fd, path):
                yield
                return
        finally:
            os.close(fd)
        if time.monotonic() > deadline:
            raise TimeoutError(f"{path} is held by another agent for more than {LOCK_DEADLINE:.0f} s")
        time.sleep(LOCK_PAUSE)


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_current(fd: int, path: Path) -> bool:
    """Return True if the opened file still has that name: its last holder may have removed it."""
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False
