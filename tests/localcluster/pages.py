"""Send plain HTTP requests to programs on this machine, without a proxy."""

import http.client
import socket

from tests.localcluster.ports import LOOPBACK

TIMEOUT = 5.0  # seconds


def page(port: int, path: str, address: str = LOOPBACK) -> str | None:
    """Return the text of a page of `address`:`port`; None if the status is not 200."""
    connection = http.client.HTTPConnection(address, port, timeout=TIMEOUT)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        text = response.read().decode()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return text if response.status == http.client.OK else None


def is_open(port: int) -> bool:
    """Return True if 127.0.0.1:`port` accepts connections."""
    try:
        socket.create_connection((LOOPBACK, port), TIMEOUT).close()
    except OSError:
        return False
    return True
