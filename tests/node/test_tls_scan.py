"""Scan the webhook's TLS. The cache is scanned in test_cache_pod."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import threading
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.localcluster.node import debian
from tests.support.certificates import Issuer, Mount
from tests.support.scanner import PACKAGE, Scan, assert_modern, command
from tests.support.webhooks import program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def scanned(port: int) -> Scan:
    """Return the result of scanning a local port."""
    debian.install(PACKAGE)
    return Scan(subprocess.run(command(port), capture_output=True, text=True, check=True).stdout)


def test_webhook_tls_is_modern(tmp_path: Path) -> None:
    mount = Mount(tmp_path / "tls")
    mount.hold_pair(Issuer().issue())
    with program(mount) as (started, port):
        started.wait_for_event("webhook listening")
        assert_modern(scanned(port))


def test_scanner_finds_weak_tls(tmp_path: Path) -> None:
    mount = Mount(tmp_path / "tls")
    mount.hold_pair(Issuer().issue())
    with old_server(mount) as port:
        scan = scanned(port)
    assert {"TLSv1.0", "TLSv1.1"} <= scan.accepted
    assert scan.weak


@contextmanager
def old_server(mount: Mount) -> Iterator[int]:
    """Run a server with TLS 1.0 and all ciphers."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        context.minimum_version = ssl.TLSVersion.TLSv1
    context.set_ciphers("ALL:COMPLEMENTOFALL:@SECLEVEL=0")
    context.load_cert_chain(mount.certificate_file, mount.key_file)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=_serve, args=(listening, context))
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


def _serve(listening: socket.socket, context: ssl.SSLContext) -> None:
    while True:
        try:
            connection, _ = listening.accept()
        except OSError:
            return  # shut down
        connection.settimeout(5)
        with contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True) as secure:
            secure.recv(1)
        connection.close()
