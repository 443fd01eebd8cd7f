"""Probe the mirror as a container runtime does: a /v2/ request over TLS, under the mirror's name."""

from __future__ import annotations

import contextlib
import http.client
import ssl
from dataclasses import dataclass, field
from typing import Final

from common.agent_protocol import NODE_HEADER
from hostess.health.node_network import NodeNetwork
from hostess.socket_deadline import within

HTTPS: Final = 443
# Seconds for a whole answer. A registry answers /v2/ in milliseconds, without its upstream or its disk.
ANSWER_WITHIN: Final = 2.0
BODY_MAX: Final = 4096  # bytes; a registry answers `{}`


class ProbeError(Exception):
    """The mirror did not answer; the message gives the reason."""


@dataclass(frozen=True, slots=True)
class Probe:
    """Probes of one mirror, each over a new connection, as pulls open new ones.

    A handshake costs each side one or two milliseconds, which is little for a thousand nodes too.
    """

    host: str
    port: int = HTTPS
    network: NodeNetwork = field(default_factory=NodeNetwork)
    node: str = ""

    def check(self, address: str, ca: bytes, port: int | None = None) -> None:
        """Probe an IP address, trusting `ca` (PEM). Raises ProbeError."""
        with contextlib.closing(self._connect(port or self.port, address, ca)) as connection:
            _get(connection, self._headers())

    def _headers(self) -> dict[str, str]:
        """Return the headers. The node is named if its pulls come from the same address as the probe."""
        named = {NODE_HEADER: self.node} if self.node and self.network.is_own else {}
        return {"User-Agent": "hostess", **named}

    def _connect(self, port: int, address: str, ca: bytes) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection(self.host, port, timeout=ANSWER_WITHIN)
        try:
            context = _tls_context(ca)
            plain = self.network.connect(address, port, ANSWER_WITHIN)
            plain.settimeout(ANSWER_WITHIN)
            # The socket's time-out limits a handshake as a whole, also if its bytes arrive one by one.
            connection.sock = context.wrap_socket(plain, server_hostname=self.host)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError, a CA that is not PEM a ValueError
            raise ProbeError(_describe(error)) from error
        return connection


def _tls_context(ca: bytes) -> ssl.SSLContext:
    """Trust what a container runtime trusts by this file, whose comments may be in any language."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=ca.decode("ascii", "ignore"))
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # an intermediate CA
    return context


def _get(connection: http.client.HTTPConnection, headers: dict[str, str]) -> None:
    try:
        with within(connection.sock, ANSWER_WITHIN):
            connection.request("GET", "/v2/", headers=headers)
            answer = connection.getresponse()
            answer.read(BODY_MAX)
    # ValueError: a chunk of a negative size. RuntimeError: no thread for the limit, on a node without process ids.
    except (OSError, http.client.HTTPException, ValueError, RuntimeError) as error:
        raise ProbeError(_describe(error)) from error
    if answer.status != http.client.OK:
        raise ProbeError(f"GET /v2/ was answered with {answer.status}")


def _describe(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message})"
    if isinstance(error, TimeoutError):
        return f"no answer within {ANSWER_WITHIN:.0f} s"
    return str(error) or type(error).__name__
