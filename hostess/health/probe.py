"""Does the mirror answer? Asked as a container runtime asks: a /v2/ request over TLS, under the mirror's name."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
from dataclasses import dataclass
from typing import Final

from hostess.socket_deadline import within

HTTPS: Final = 443
# Seconds for a whole answer. A registry gives this one without asking its upstream or its disk, in milliseconds; one
# that needs longer would make each pull slow.
ANSWER_WITHIN: Final = 2.0
BODY_MAX: Final = 4096  # bytes; a registry answers `{}`


class NoAnswer(Exception):
    """Why the mirror did not answer."""


@dataclass(frozen=True, slots=True)
class Probe:
    """Asks one mirror, each time over a new connection: pulls open new ones, and one that is kept sees less than they.

    A handshake costs either side less than a millisecond or two, which is little even where a thousand nodes ask.
    """

    host: str
    port: int = HTTPS

    def ask(self, address: str, authority: bytes, port: int | None = None) -> None:
        """Asks at an IP address, trusting the CA `authority` (PEM). Raises NoAnswer with the reason."""
        with contextlib.closing(_connected(self.host, port or self.port, address, authority)) as connection:
            _get(connection)


def _connected(host: str, port: int, address: str, authority: bytes) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection(host, port, timeout=ANSWER_WITHIN)
    try:
        trust = _trusting(authority)
        plain = socket.create_connection((address, port), ANSWER_WITHIN)
        # A handshake ends by the socket's time-out as a whole, however the bytes drip in.
        connection.sock = trust.wrap_socket(plain, server_hostname=host)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError, a CA that is no PEM a ValueError
        raise NoAnswer(_told(error)) from error
    return connection


def _trusting(authority: bytes) -> ssl.SSLContext:
    """Trusts what a container runtime would trust by this file, whose comments may be in any language."""
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trust.load_verify_locations(cadata=authority.decode("ascii", "ignore"))
    trust.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # a CA that another one signed
    return trust


def _get(connection: http.client.HTTPConnection) -> None:
    try:
        with within(connection.sock, ANSWER_WITHIN):
            connection.request("GET", "/v2/", headers={"User-Agent": "hostess"})
            answer = connection.getresponse()
            answer.read(BODY_MAX)
    # ValueError: a chunk of a negative size. RuntimeError: no thread for the limit, on a node without process ids.
    except (OSError, http.client.HTTPException, ValueError, RuntimeError) as error:
        raise NoAnswer(_told(error)) from error
    if answer.status != http.client.OK:
        raise NoAnswer(f"GET /v2/ was answered with {answer.status}")


def _told(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message})"
    if isinstance(error, TimeoutError):
        return f"no answer within {ANSWER_WITHIN:.0f} s"
    return str(error) or type(error).__name__
