"""Read without waiting for the disk, and write files that are whole or absent."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Final

# Seconds. The last use of a file is its modification time, which is set at most this often.
USE_RESOLUTION: Final = 3600.0
_NOWAIT: Final = getattr(os, "RWF_NOWAIT", 0)


async def read(fd: int, length: int, offset: int) -> bytes | bytearray:
    """Return up to `length` bytes from `offset`; empty at the end of the file.

    Bytes in the page cache are read at once. Only a read that waits for the disk takes a thread.
    """
    buffer = bytearray(length)
    if _NOWAIT:
        with contextlib.suppress(OSError):  # EAGAIN: not in the page cache; EOPNOTSUPP: the file system cannot tell
            count = os.preadv(fd, [buffer], offset, _NOWAIT)
            if count == length:
                return buffer
            if count > 0:
                del buffer[count:]
                return buffer
    return await asyncio.to_thread(os.pread, fd, length, offset)


def write_whole(path: Path, content: bytes, temporary: Path) -> None:
    """Write a small file: into the temporary directory first, then by one rename. Raises OSError."""
    fd, name = tempfile.mkstemp(dir=temporary)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        move(Path(name), path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)  # noqa: PTH108 (the same)
        raise


def move(source: Path, target: Path) -> None:
    """Give a file its name, in place of whatever has that name. Raises OSError."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        source.replace(target)
    except IsADirectoryError:
        shutil.rmtree(target)
        source.replace(target)


def read_small(path: Path) -> bytes | None:
    """Return the content of a small file; None if there is none, or if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError:
        return None


def sealed(content: bytes) -> bytes:
    """Return content that no digest names with a checksum before it."""
    return hashlib.sha256(content).hexdigest().encode() + b"\n" + content


def unsealed(content: bytes | None) -> bytes | None:
    """Return sealed content; None if there is none, or if it is damaged."""
    checksum, _, rest = (content or b"").partition(b"\n")
    return rest if hashlib.sha256(rest).hexdigest().encode() == checksum else None


def use_resolution(ttl: float) -> float:
    """Return how often a use is noted. It may be noted two resolutions late, which is half of a short ttl."""
    return min(USE_RESOLUTION, ttl / 4) if ttl else USE_RESOLUTION


def mark_used(path: Path, now: float | None = None, resolution: float = USE_RESOLUTION) -> None:
    """Set the last use of a file, if it is older than the resolution or in the future. A missing file is ignored."""
    now = time.time() if now is None else now
    with contextlib.suppress(OSError):
        if abs(now - path.stat().st_mtime) > resolution:
            os.utime(path, (now, now))
