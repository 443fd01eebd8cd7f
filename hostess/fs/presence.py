"""Show the other agents of the node that the agent of a mirror runs: it holds a lock while it lives.

The kernel drops the lock with the process, so a killed agent holds none.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hostess.fs import atomic

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(slots=True)
class Presence:
    """Lock file of one mirror's agents. Old and new agent of a node may hold it together."""

    path: Path
    _fd: int | None = None

    def hold(self) -> None:
        """Take the lock, again if its file was removed. Without it, other agents ask the API server."""
        with contextlib.suppress(OSError):
            if self._fd is not None and atomic.is_current(self._fd, self.path):
                return
            self.drop()
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, atomic.MODE)
            self._fd = fd
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)

    def drop(self) -> None:
        """Release the lock."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def is_held(self) -> bool:
        """Return True if an agent holds the lock, or if that is unknown."""
        try:
            fd = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        except OSError:
            return True
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(fd)
        return False
