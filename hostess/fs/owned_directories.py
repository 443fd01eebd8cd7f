"""Create folders on the node and remove them again, but never foreign ones.

Each own folder holds a marker. It is created beside its final path and renamed with the marker in it, so that a
crash leaves no folder of unknown owner. Container runtimes read only files of certain suffixes in these folders.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MARKER: Final = ".registry-mirror"
_UNFINISHED: Final = ".registry-mirror.new"


def ensure(path: Path) -> None:
    """Create a folder and its missing parents. Call it under the lock. Raises OSError."""
    if path.is_dir():
        return
    if os.path.lexists(path):  # check before creating anything
        raise NotADirectoryError(errno.ENOTDIR, "not a folder, or a link to outside of the mounts", str(path))
    ensure(path.parent)
    unfinished = path.parent / _UNFINISHED
    shutil.rmtree(unfinished, ignore_errors=True)  # from a killed agent
    unfinished.mkdir(mode=0o755)
    (unfinished / MARKER).touch()
    unfinished.rename(path)


def release(path: Path) -> None:
    """Remove an own folder that is empty, then its empty parents. Call it under the lock.

    Unfinished folders of a killed agent are removed too, also in foreign folders.
    """
    shutil.rmtree(path / _UNFINISHED, ignore_errors=True)
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        if is_owned(path) and [each.name for each in path.iterdir()] == [MARKER]:
            # Renamed with its marker first: a crash in between leaves what `ensure` leaves.
            unfinished = path.parent / _UNFINISHED
            shutil.rmtree(unfinished, ignore_errors=True)
            path.rename(unfinished)
            shutil.rmtree(unfinished)
            release(path.parent)


def is_owned(path: Path) -> bool:
    """Return True if an agent created the folder. Foreign files in it stay foreign."""
    return os.path.lexists(path / MARKER)


def subfolders(root: Path) -> Iterator[Path]:
    """Yield the folders in `root`, without links. A root that the agent cannot read has nothing of it."""
    try:
        with os.scandir(root) as found:
            names = sorted(each.name for each in found if each.is_dir(follow_symlinks=False))
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return
    yield from (root / name for name in names)
