"""Open TCP connections in the node's own network and pass them to the agents of the node.

The agents run in networks of pods, and a runtime pulls from the network of the node. One dialer per node serves the
agents of all mirrors over a Unix socket. A request is one packet, `address port`. The reply is one packet as well: an
errno, and with errno 0 the connected socket. The request `containerd` asks for the last start of containerd.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import signal
import socket
import socketserver
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from common.agent_protocol import DIALER_SOCKET, STARTS
from common.version import VERSION
from hostess.containerd import restarts
from hostess.json_log import Log

if TYPE_CHECKING:
    from collections.abc import Callable

# Ports of Services and of cache pods. Services of the node itself listen elsewhere or on loopback addresses.
PORTS: Final = (443, 5000)
# Seconds between two checks for a start of containerd, also while agents ask often.
CHECK_INTERVAL: Final = 1.0
CONNECT_WITHIN: Final = 2.0  # seconds
REQUEST_MAX: Final = 128  # bytes
STACK: Final = 512 * 1024  # bytes of a thread's stack
DONE: Final = b"0"


def is_allowed(address: str, port: int) -> bool:
    """Return True if an agent may reach this address: no loopback address, and no metadata service of a cloud."""
    ip = ipaddress.ip_address(address)
    special = ip.is_loopback or ip.is_link_local or ip.is_multicast or ip.is_unspecified
    return port in PORTS and not special and getattr(ip, "ipv4_mapped", None) is None


class Dialer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Server at the Unix socket `path`. Only root may connect to it."""

    socket_type = socket.SOCK_SEQPACKET
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, path: Path, allows: Callable[[str, int], bool] = is_allowed) -> None:
        self.path, self.allows = path, allows
        self.watch = restarts.StartWatch(restarts.Start(time.time()))
        self._checked = -CHECK_INTERVAL
        self._check()
        temporary = path.with_suffix(".new")
        temporary.unlink(missing_ok=True)
        mask = os.umask(0o177)
        try:
            super().__init__(str(temporary), _Request)
        finally:
            os.umask(mask)
        temporary.rename(path)

    def service_actions(self) -> None:
        """Check for a start of containerd. End if the socket was removed: the kubelet then mounts the folder again."""
        self._check()
        if not self.path.exists():
            threading.Thread(target=self.shutdown, daemon=True).start()

    def _check(self) -> None:
        if (now := time.monotonic()) - self._checked < CHECK_INTERVAL:
            return
        self._checked = now
        self.watch.update(restarts.inodes(Path(restarts.TABLE).read_text(errors="replace")), time.time())

    def handle_error(self, *_: object) -> None:
        """Ignore agents that disconnect."""


class _Request(socketserver.BaseRequestHandler):
    server: Dialer

    def handle(self) -> None:
        self.request.settimeout(CONNECT_WITHIN)
        try:
            asked = self.request.recv(REQUEST_MAX).decode()
            if asked == STARTS:
                start = self.server.watch.start
                self.request.send(f"{start.watched_from} {start.seen}".encode())
                return
            address, port = asked.split()
            connection = self._connect(address, int(port))
        except (OSError, ValueError) as error:
            self.request.send(str(_errno_of(error)).encode())
            return
        with connection:
            socket.send_fds(self.request, [DONE], [connection.fileno()])

    def _connect(self, address: str, port: int) -> socket.socket:
        if not self.server.allows(address, port):
            raise PermissionError(errno.EACCES, "")
        return socket.create_connection((address, port), CONNECT_WITHIN)


def _errno_of(error: Exception) -> int:
    """Return the errno of a failure. A time-out of Python has none."""
    if isinstance(error, TimeoutError):
        return errno.ETIMEDOUT
    return (isinstance(error, OSError) and error.errno) or errno.EINVAL


def main() -> int:
    """Serve until SIGTERM; return the exit status."""
    path, log = Path(os.environ[DIALER_SOCKET]), Log(program="dialer")
    threading.stack_size(STACK)
    with Dialer(path) as dialer:
        for number in (signal.SIGTERM, signal.SIGINT):
            # Not here: shutdown waits for the loop, which the signal interrupts.
            signal.signal(number, lambda *_: threading.Thread(target=dialer.shutdown, daemon=True).start())
        log.info("started", version=VERSION, socket=path)
        dialer.serve_forever()
    with suppress(OSError):
        path.unlink()
    log.info("stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
