"""Read from the kernel which file of the node is mounted into this container."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_TABLE: Final = Path("/proc/self/mountinfo")  # proc_pid_mountinfo(5)
_ROOT, _POINT = 3, 4


def source_of(path: Path) -> str | None:
    """Return the source of the mount at `path`, within its own file system; None without a mount.

    It follows a renamed file: an editor that keeps a backup leaves the mount on `/etc/hosts.bak`.
    """
    return parse(_TABLE.read_text(errors="surrogateescape"), str(path))


def parse(table: str, point: str) -> str | None:
    """Return the source of a mount point by the kernel's table. The last mount hides those before it."""
    rows = (line.split(" ") for line in reversed(table.splitlines()))
    return next((row[_ROOT] for row in rows if row[_POINT] == point), None)
