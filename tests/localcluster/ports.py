"""Free ports on the loopback address."""

import os
import random
import socket
from pathlib import Path

LOOPBACK = "127.0.0.1"
LOWEST = 20000  # below are the well-known ports of other programs
EPHEMERAL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
DEFAULT_EPHEMERAL = 32768  # Linux' own default


# Given out by this process: who asked may take a while until it listens.
_PROMISED: set[int] = set()


def free_port() -> int:
    """Return a port that nobody listens on now.

    It lies below the range from which the kernel takes the ports of outgoing connections: from there, it could be
    taken while the API server is down for a restart on the same port.
    """
    while True:
        port = random.randrange(LOWEST + _half(), _lowest_ephemeral(), 2)  # noqa: S311 - no secret
        if port in _PROMISED:
            continue
        with socket.socket() as candidate:
            # as servers do: a connection of an earlier one in TIME_WAIT does not keep them from listening
            candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                candidate.bind((LOOPBACK, port))
            except OSError:
                continue
            _PROMISED.add(port)
            return port


def _half() -> int:
    """Two test processes side by side pick from the even and the odd ports, each past what the other has promised."""
    return int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 2


def _lowest_ephemeral() -> int:
    try:
        lowest = int(EPHEMERAL_RANGE.read_text().split()[0])
    except (OSError, ValueError):
        return DEFAULT_EPHEMERAL
    # a machine may let outgoing connections use nearly all ports; then there is no better range to be had
    return lowest if lowest > LOWEST else DEFAULT_EPHEMERAL
