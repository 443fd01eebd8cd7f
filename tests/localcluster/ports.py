"""Find free ports on the loopback address."""

import os
import random
import socket
from pathlib import Path

LOOPBACK = "127.0.0.1"
LOWEST = 20000  # lower ports belong to well-known programs
EPHEMERAL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
DEFAULT_EPHEMERAL = 32768  # Linux' own default


# Returned by this process; the caller may listen later.
_PROMISED: set[int] = set()


def free_port() -> int:
    """Return a port that is free now.

    It is below the ports of outgoing connections: one of those would otherwise take it while the API server restarts.
    """
    while True:
        port = random.randrange(LOWEST + _half(), _lowest_ephemeral(), 2)  # noqa: S311 - no secret
        if port in _PROMISED:
            continue
        with socket.socket() as candidate:
            # As servers do: connections in TIME_WAIT do not block the port.
            candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                candidate.bind((LOOPBACK, port))
            except OSError:
                continue
            _PROMISED.add(port)
            return port


def _half() -> int:
    """Return 0 or 1: two test processes use the even and the odd ports."""
    return int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 2


def _lowest_ephemeral() -> int:
    try:
        lowest = int(EPHEMERAL_RANGE.read_text().split()[0])
    except (OSError, ValueError):
        return DEFAULT_EPHEMERAL
    # If outgoing connections may use nearly all ports, there is no better range.
    return lowest if lowest > LOWEST else DEFAULT_EPHEMERAL
