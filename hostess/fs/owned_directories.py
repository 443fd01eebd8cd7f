"""Folders that we make on the node and take away again, and none that others made.

One of ours holds a marker. It is made beside its place and renamed there with the marker in it, so that a crash leaves
no folder whose maker is unknown. Container runtimes read only files of certain suffixes in these folders.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

MARKER: Final = ".registry-mirror"
_UNFINISHED: Final = ".registry-mirror.new"


def ensure(path: Path) -> None:
    """Makes a folder, and those above it, where missing. Under the lock. Raises OSError."""
    if path.is_dir():
        return
    if os.path.lexists(path):  # before anything is made in vain
        raise NotADirectoryError(errno.ENOTDIR, "no folder, or a link that leads out of what the agent sees", str(path))
    ensure(path.parent)
    unfinished = path.parent / _UNFINISHED
    shutil.rmtree(unfinished, ignore_errors=True)  # of one who was killed
    unfinished.mkdir(mode=0o755)
    (unfinished / MARKER).touch()
    unfinished.rename(path)


def release(path: Path) -> None:
    """Removes a folder of ours that holds nothing any more, and those above it that then hold nothing. Under the lock.

    What one who was killed left unfinished goes too, in a folder of others as well.
    """
    shutil.rmtree(path / _UNFINISHED, ignore_errors=True)
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        if [each.name for each in path.iterdir()] == [MARKER]:
            # Gone from its place with the marker still in it: killed in between, it is what `ensure` leaves.
            unfinished = path.parent / _UNFINISHED
            shutil.rmtree(unfinished, ignore_errors=True)
            path.rename(unfinished)
            shutil.rmtree(unfinished)
            release(path.parent)


def is_ours_alone(path: Path) -> bool:
    """Whether we made this folder: where others put files into it, those are theirs, and it is used."""
    return (path / MARKER).exists()
