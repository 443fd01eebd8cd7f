"""Define conditions and their types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from common.defaults import dict_at

if TYPE_CHECKING:
    from common.types import Json

READY: Final = "Ready"

ACCEPTED: Final = "Accepted"

CACHE_AVAILABLE: Final = "CacheAvailable"

UPSTREAM_REACHABLE: Final = "UpstreamReachable"

CREDENTIALS_AVAILABLE: Final = "CredentialsAvailable"

NODES_CONFIGURED: Final = "NodesConfigured"

CERTIFICATE_VALID: Final = "CertificateValid"

STORAGE_RESIZED: Final = "StorageResized"

# Only there once it was False: that it is so is what all the others are about.
RECONCILED: Final = "Reconciled"

MESSAGE_MAX: Final = 1024  # characters: a longer message would be cut by whatever shows it, and etcd keeps each


@dataclass(frozen=True, slots=True)
class Condition:
    """One aspect: `status` is True, False or Unknown."""

    type: str
    status: str
    reason: str
    message: str


def existing_conditions(obj: Json) -> list[Json]:
    """The conditions in an object's status, without what is none: it may be older than the schema."""
    found = dict_at(obj, "status").get("conditions")
    conditions = found if isinstance(found, list) else []
    return [one for one in conditions if isinstance(one, dict) and "type" in one and "status" in one]
