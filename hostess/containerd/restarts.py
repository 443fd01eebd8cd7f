"""See when containerd started: its socket in the network of the node gets another inode with each start. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

TABLE: Final = "/proc/net/unix"
_SOCKET: Final = "/containerd.sock"
_DOCKERS: Final = "/docker/"  # dockerd has a containerd of its own
_LISTENING: Final = "00010000"  # the flag __SO_ACCEPTCON
_FLAGS, _INODE, _PATH = 3, 6, 7


def inodes(table: str) -> frozenset[str]:
    """Return the inodes of the sockets on which containerd listens."""
    rows = (line.split(maxsplit=_PATH) for line in table.splitlines())
    return frozenset(
        row[_INODE]
        for row in rows
        if len(row) > _PATH
        and row[_FLAGS] == _LISTENING
        and row[_PATH].endswith(_SOCKET)
        and _DOCKERS not in row[_PATH]
    )


@dataclass(frozen=True, slots=True)
class Start:
    """Start of containerd, in seconds since the epoch. `seen` is 0 for a start before `watched_from`."""

    watched_from: float
    seen: float = 0.0

    def is_before(self, change: float) -> bool:
        """Return True if containerd certainly started before a change."""
        return self.watched_from < change and self.seen < change


@dataclass(slots=True)
class StartWatch:
    """The last start of containerd since the first update."""

    start: Start
    _inodes: frozenset[str] | None = None

    def update(self, found: frozenset[str], now: float) -> None:
        """Take the present inodes. While containerd is stopped, `found` is empty."""
        if self._inodes is not None and found != self._inodes:
            self.start = Start(self.start.watched_from, now)
        self._inodes = found
