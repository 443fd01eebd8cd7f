"""Connect from the node's own network, as the runtime does, by the dialer of the node."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from common.agent_protocol import STARTS
from hostess.containerd.restarts import Start

if TYPE_CHECKING:
    from pathlib import Path

# Seconds that the dialer gets beyond those of the connection.
MARGIN: Final = 0.5
# Seconds without a dialer until the node counts as not probed. A restart of its pod takes a few.
AWAY: Final = 15.0
REPLY_MAX: Final = 64  # bytes


class DialerAwayError(Exception):
    """No dialer answers on this node."""


@dataclass(slots=True)
class NodeNetwork:
    """Network of the probes. Without `dialer`, the agent's own network counts as that of the node."""

    dialer: Path | None = None
    is_own: bool = True  # the last connection was from the node's own network
    _last_dialed: float | None = None

    def connect(self, address: str, port: int, seconds: float) -> socket.socket:
        """Return a connection, from the agent's own network while no dialer answers. Raises OSError."""
        if self.dialer is None:
            return socket.create_connection((address, port), seconds)
        try:
            reply, descriptors = _ask(self.dialer, f"{address} {port}", seconds + MARGIN)
            failure = int(reply)
        except (DialerAwayError, ValueError):  # ValueError: it ended before it replied
            self.is_own = False
            return socket.create_connection((address, port), seconds)
        self.is_own, self._last_dialed = True, time.monotonic()
        for descriptor in descriptors:
            return socket.socket(fileno=descriptor)
        raise OSError(failure, os.strerror(failure))

    def last_start(self) -> Start | None:
        """Return the last start of containerd; None without a dialer that saw it."""
        if self.dialer is None:
            return None
        with contextlib.suppress(DialerAwayError, ValueError):
            watched_from, seen = map(float, _ask(self.dialer, STARTS, MARGIN)[0].split())
            return Start(watched_from, seen)
        return None

    @property
    def doubt(self) -> str:
        """Return a sentence about probes that are not from the node's network, or an empty string."""
        if self.dialer is None:
            return ""
        if self._last_dialed is not None and time.monotonic() - self._last_dialed < AWAY:
            return ""
        return (
            "The mirror answers the agent. It is not known if it answers the node itself, because no pod of DaemonSet"
            " registrymirror-dialer serves this node. Describe that DaemonSet and its pods, or apply deploy/ again."
        )


def _ask(dialer: Path, request: str, seconds: float) -> tuple[bytes, list[int]]:
    """Return the dialer's reply and its file descriptors. Raises DialerAwayError."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asking:
            asking.settimeout(seconds)
            asking.connect(str(dialer))
            asking.send(request.encode())
            reply, descriptors, _, _ = socket.recv_fds(asking, REPLY_MAX, 1)
        return reply, descriptors
    except OSError as error:
        raise DialerAwayError from error
