"""Turn exceptions and statuses of an upstream into errors for a client. Pure."""

from __future__ import annotations

import errno
import ssl
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import aiohttp

from cache.errors import BAD_GATEWAY, FORBIDDEN, NOT_FOUND, TIMED_OUT, TOO_MANY, UNAUTHORIZED, RegistryError

if TYPE_CHECKING:
    from collections.abc import Mapping

_PROXY_ERRORS: Final = (aiohttp.ClientProxyConnectionError, aiohttp.ClientHttpProxyError)
_ERRORS: Final = range(400, 600)
_REFUSALS: Final[dict[int, tuple[str, str]]] = {
    UNAUTHORIZED: ("Unauthorized", "{party} requires credentials (401)."),
    FORBIDDEN: ("Forbidden", "{party} denies access (403)."),
    NOT_FOUND: ("NotFound", "{party} does not have it (404)."),
}
_LONGEST_WAIT: Final = 1_000_000.0  # seconds; a Retry-After beyond this is a mistake

# Reason and message for each kind of exception; the first that matches counts.
_CAUSES: Final[tuple[tuple[tuple[type[BaseException], ...], str, str], ...]] = (
    (_PROXY_ERRORS, "ProxyFailed", "The proxy (HTTPS_PROXY, HTTP_PROXY) does not answer or refuses."),
    ((aiohttp.ClientConnectorDNSError,), "NameNotFound", "The name of {party} cannot be resolved."),
    (
        (aiohttp.ClientConnectorCertificateError, ssl.SSLCertVerificationError),
        "UntrustedCertificate",
        "The certificate of {party} is not trusted. Put its CA into the bundle of CA_CERTIFICATE_BUNDLE.",
    ),
    ((aiohttp.ClientSSLError, ssl.SSLError), "TLSFailed", "{party} does not complete the TLS handshake."),
    ((aiohttp.ClientConnectorError,), "ConnectionFailed", "{party} cannot be reached."),
    ((TimeoutError,), "TimedOut", "{party} does not answer in time."),
    ((aiohttp.ClientConnectionError, OSError), "ConnectionBroken", "{party} broke the connection."),
    ((aiohttp.ClientPayloadError,), "ConnectionBroken", "{party} cut the body off."),
)


def failure_of(error: BaseException, party: str) -> RegistryError:
    """Return the error for an exception of the HTTP client."""
    if getattr(error, "errno", None) == errno.ECONNREFUSED and not isinstance(error, _PROXY_ERRORS):
        return RegistryError(BAD_GATEWAY, f"{party} refuses connections.", reason="ConnectionRefused")
    for kinds, reason, message in _CAUSES:
        if isinstance(error, kinds):
            status = TIMED_OUT if reason == "TimedOut" else BAD_GATEWAY
            return RegistryError(status, message.format(party=party), reason=reason)
    return RegistryError(BAD_GATEWAY, f"{party} does not speak HTTP.", reason="NotARegistry")


def refusal_of(status: int, headers: Mapping[str, str], party: str) -> RegistryError:
    """Return the error for a status other than success."""
    if status == TOO_MANY:
        wait = retry_after(headers.get("Retry-After"))
        message = f"{party} limits the rate of requests (429). Credentials may raise the limit."
        return RegistryError(TOO_MANY, message, retry_after=wait, reason="RateLimited")
    if status in _REFUSALS:
        reason, message = _REFUSALS[status]
        return RegistryError(status, message.format(party=party), reason=reason)
    if status in _ERRORS:
        reason = "ServerError" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "NotARegistry"
        return RegistryError(status, f"{party} answers {status}.", reason=reason)
    return not_a_registry(party, f"status {status}")


def not_a_registry(party: str, what: str) -> RegistryError:
    """Return the error for an answer that no registry gives."""
    return RegistryError(BAD_GATEWAY, f"{party} answers unlike a registry: {what}.", reason="NotARegistry")


def retry_after(header: str | None, now: datetime | None = None) -> float | None:
    """Return the seconds that a Retry-After header asks to wait; None if it cannot be read."""
    text = (header or "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), _LONGEST_WAIT)
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    seconds = (moment - (now or datetime.now(UTC))).total_seconds()
    return min(max(seconds, 0.0), _LONGEST_WAIT)


def is_success(status: int) -> bool:
    """Return True for 200 and 206."""
    return status in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT)
