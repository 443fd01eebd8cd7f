"""Turn exceptions and statuses of an upstream into errors for a client. Pure."""

from __future__ import annotations

import errno
import ssl
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import aiohttp

from cache.model.errors import BAD_GATEWAY, FORBIDDEN, NOT_FOUND, TIMED_OUT, TOO_MANY, UNAUTHORIZED, RegistryError
from common.cache_protocol import UpstreamReason as Reason

if TYPE_CHECKING:
    from collections.abc import Mapping

_PROXY_ERRORS: Final = (aiohttp.ClientProxyConnectionError, aiohttp.ClientHttpProxyError)
_ERRORS: Final = range(400, 600)
_REFUSALS: Final[dict[int, tuple[Reason | None, str]]] = {
    UNAUTHORIZED: (Reason.UNAUTHORIZED, "{party} requires credentials (401)."),
    FORBIDDEN: (Reason.FORBIDDEN, "{party} denies access (403)."),
    NOT_FOUND: (None, "{party} does not have it (404)."),
}
# Statuses with which registries refuse HEAD of a manifest, although GET works.
NO_HEAD: Final = frozenset({400, 401, 405, 501})
_LONGEST_WAIT: Final = 1_000_000.0  # seconds; a Retry-After beyond this is a mistake

# Reason and message for each kind of exception; the first that matches counts.
_CAUSES: Final[tuple[tuple[tuple[type[BaseException], ...], Reason, str], ...]] = (
    (_PROXY_ERRORS, Reason.PROXY_FAILED, "The proxy (HTTPS_PROXY, HTTP_PROXY) does not answer or refuses."),
    ((aiohttp.ClientConnectorDNSError,), Reason.NAME_NOT_FOUND, "The name of {party} cannot be resolved."),
    (
        (aiohttp.ClientConnectorCertificateError, ssl.SSLCertVerificationError),
        Reason.UNTRUSTED_CERTIFICATE,
        "The certificate of {party} is not trusted. Put its CA into the bundle of CA_CERTIFICATE_BUNDLE.",
    ),
    ((aiohttp.ClientSSLError, ssl.SSLError), Reason.TLS_FAILED, "{party} does not complete the TLS handshake."),
    ((aiohttp.ClientConnectorError,), Reason.CONNECTION_FAILED, "{party} cannot be reached."),
    ((TimeoutError,), Reason.TIMED_OUT, "{party} does not answer in time."),
    ((aiohttp.ClientConnectionError, OSError), Reason.CONNECTION_BROKEN, "{party} broke the connection."),
    ((aiohttp.ClientPayloadError,), Reason.CONNECTION_BROKEN, "{party} cut the body off."),
)


def failure_of(error: BaseException, party: str) -> RegistryError:
    """Return the error for an exception of the HTTP client."""
    if getattr(error, "errno", None) == errno.ECONNREFUSED and not isinstance(error, _PROXY_ERRORS):
        return RegistryError(BAD_GATEWAY, f"{party} refuses connections.", reason=Reason.CONNECTION_REFUSED)
    for kinds, reason, message in _CAUSES:
        if isinstance(error, kinds):
            status = TIMED_OUT if reason is Reason.TIMED_OUT else BAD_GATEWAY
            return RegistryError(status, message.format(party=party), reason=reason)
    return RegistryError(BAD_GATEWAY, f"{party} does not speak HTTP.", reason=Reason.NOT_A_REGISTRY)


def refusal_of(status: int, headers: Mapping[str, str], party: str) -> RegistryError:
    """Return the error for a status other than success."""
    if status == TOO_MANY:
        wait = retry_after(headers.get("Retry-After"))
        message = f"{party} limits the rate of requests (429). Credentials may raise the limit."
        return RegistryError(TOO_MANY, message, retry_after=wait, reason=Reason.RATE_LIMITED)
    if status in _REFUSALS:
        reason, message = _REFUSALS[status]
        return RegistryError(status, message.format(party=party), reason=reason)
    if status in _ERRORS:
        reason = Reason.SERVER_ERROR if status >= HTTPStatus.INTERNAL_SERVER_ERROR else Reason.NOT_A_REGISTRY
        return RegistryError(status, f"{party} answers {status}.", reason=reason)
    return not_a_registry(party, f"status {status}")


def not_a_registry(party: str, what: str) -> RegistryError:
    """Return the error for an answer that no registry gives."""
    return RegistryError(BAD_GATEWAY, f"{party} answers unlike a registry: {what}.", reason=Reason.NOT_A_REGISTRY)


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
