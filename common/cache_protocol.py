"""Define the protocol between the controller and the caches: ports, and the words of `/status`."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

PORT: Final = 5000  # the registry API
STATUS_PORT: Final = 5001  # plain HTTP: health, readiness, metrics and status
STATUS_PATH: Final = "/status"
READY_PATH: Final = "/readyz"
ALIVE_PATH: Final = "/healthz"


class UpstreamReason(StrEnum):
    """Name what an upstream answered last. All but NOT_ASKED and REACHABLE are failures."""

    NOT_ASKED = "NotAsked"
    REACHABLE = "Reachable"
    NAME_NOT_FOUND = "NameNotFound"
    CONNECTION_REFUSED = "ConnectionRefused"
    CONNECTION_FAILED = "ConnectionFailed"
    CONNECTION_BROKEN = "ConnectionBroken"
    TIMED_OUT = "TimedOut"
    UNTRUSTED_CERTIFICATE = "UntrustedCertificate"
    TLS_FAILED = "TLSFailed"
    PROXY_FAILED = "ProxyFailed"
    UNAUTHORIZED = "Unauthorized"  # 401 without a login that the cache knows
    FORBIDDEN = "Forbidden"
    RATE_LIMITED = "RateLimited"
    SERVER_ERROR = "ServerError"
    NOT_A_REGISTRY = "NotARegistry"
    NO_TOKEN = "NoToken"  # noqa: S105 (a reason)


class CredentialsResult(StrEnum):
    """Name what an upstream answered to the credentials, or to having none."""

    ACCEPTED = "CredentialsAccepted"
    REFUSED = "CredentialsRefused"
    REQUIRED = "CredentialsRequired"
    NOT_VERIFIED = "CredentialsNotVerified"  # anonymous tokens for single images only, if at all
    NOT_CHECKED = ""  # the upstream wants none, or was not asked
