"""Files on the node that a crash at any point leaves whole, and the lock that the agents of all mirrors share."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Seconds. Others hold it for milliseconds; one that is stopped for longer must not stop the other mirrors' agents for
# good, and each of them comes back to it with its next look at the node.
LOCK_DEADLINE: Final = 5.0
LOCK_PAUSE: Final = 0.02  # seconds between two tries; flock has no deadline of its own
MODE: Final = 0o644  # containerd and docker run as root, people who look need not


def content_of(path: Path) -> bytes | None:
    """Content of a file; None where there is none."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None


def replace(path: Path, content: bytes, part: str) -> None:
    """Writes a file by rename: readers see the old or the new one, whole. `part` names the unfinished one beside it."""
    unfinished = path.with_name(part)
    with unfinished.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fchmod(stream.fileno(), MODE)
        os.fsync(stream.fileno())
    unfinished.replace(path)
    sync_folder(path.parent)


def remove(path: Path) -> bool:
    """Removes a file; whether there was one."""
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    sync_folder(path.parent)
    return True


def sync_folder(path: Path) -> None:
    """Brings a rename or removal in a folder to the disk."""
    number = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds the lock file, which may be removed by who holds it. Raises TimeoutError."""
    deadline = time.monotonic() + LOCK_DEADLINE
    while True:
        number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, MODE)
        try:
            if _taken(number) and _stands(number, path):
                yield
                return
        finally:
            os.close(number)
        if time.monotonic() > deadline:
            raise TimeoutError(f"{path} is held by another agent for more than {LOCK_DEADLINE:.0f} s")
        time.sleep(LOCK_PAUSE)


def _taken(number: int) -> bool:
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _stands(number: int, path: Path) -> bool:
    """Whether the file that was opened is still the one of that name: its last holder may have removed it."""
    try:
        return os.path.samestat(os.fstat(number), path.stat())
    except FileNotFoundError:
        return False
