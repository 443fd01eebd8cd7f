"""What stands behind a file that is mounted into this container, as the kernel tells it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_TABLE: Final = Path("/proc/self/mountinfo")  # proc_pid_mountinfo(5)
_ROOT, _POINT = 3, 4


def source_of(path: Path) -> str | None:
    """Path of what is mounted at `path`, within its own file system; None where nothing is.

    It follows a file that is renamed, as an edit does that keeps the former one as a backup: `/etc/hosts.bak`.
    """
    return parsed(_TABLE.read_text(errors="surrogateescape"), str(path))


def parsed(table: str, point: str) -> str | None:
    """The same, of the kernel's table; the last mount at a point hides those before it."""
    rows = (line.split(" ") for line in reversed(table.splitlines()))
    return next((row[_ROOT] for row in rows if row[_POINT] == point), None)
