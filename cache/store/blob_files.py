"""Read and write the files of blobs."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cache.store import files

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cache.model.reference import Digest

# Bytes that are hashed at a time.
_PIECE: Final = 1024 * 1024


# Errors that mean damage, beside a wrong digest. EBADMSG and EUCLEAN are checksums and structures of the file system.
_DAMAGED: Final = frozenset({errno.EIO, errno.EBADMSG, errno.EUCLEAN})
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


class NoSpaceError(Exception):
    """The volume has no room, even after an eviction, or cannot be written."""


@dataclass(slots=True)
class StoredBlob:
    """An open blob. It stays readable if it is evicted meanwhile."""

    fd: int
    size: int

    def close(self) -> None:
        """Close the file."""
        os.close(self.fd)


@dataclass(slots=True)
class BlobWriter:
    """A blob that is being received, in a temporary file that readers may open.

    `take` counts more bytes of the room, and returns False if there are none. `taken` is what this file has.
    """

    fd: int
    path: Path
    target: Path
    hasher: hashlib._Hash = field(repr=False)
    take: Callable[[int], bool] = field(repr=False)
    taken: int = 0

    def extend(self, end: int) -> None:
        """Count the bytes up to `end` as well. Raises OSError if there is no room."""
        if end > self.taken:
            if not self.take(end - self.taken):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self.taken = end

    def give_back(self) -> None:
        """Count no bytes any more."""
        self.take(-self.taken)
        self.taken = 0

    def append(self, content: bytes, offset: int) -> None:
        """Hash and write the next bytes. Called in a thread. Raises OSError."""
        self.hasher.update(content)
        view = memoryview(content)
        while view:
            count = os.pwrite(self.fd, view, offset)
            view, offset = view[count:], offset + count

    def commit(self, size: int) -> None:
        """Give the verified content its name. Called in a thread. Raises OSError."""
        os.ftruncate(self.fd, size)
        os.fsync(self.fd)
        files.move(self.path, self.target)

    def drop(self) -> None:
        """Close the file and remove it, unless it was committed."""
        self.give_back()
        with contextlib.suppress(OSError):
            self.path.unlink()
        os.close(self.fd)


def is_full(error: OSError) -> bool:
    """Return True if an error says that the volume has no room."""
    return error.errno in _FULL


def is_sound(path: Path, digest: Digest) -> bool:
    """Hash a file; return True if it has the digest. Raises OSError if nothing is known of the content."""
    hasher = hashlib.new(digest.algorithm)
    try:
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                hasher.update(piece)
    except OSError as error:
        if error.errno in _DAMAGED:
            return False
        raise
    return hasher.hexdigest() == digest.hex
