"""Define conditions, their types and their reasons' form."""

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
# Present only while it is True.
STALLED: Final = "Stalled"
# Present only after the first failure of a reconcile.
RECONCILED: Final = "Reconciled"

MESSAGE_MAX: Final = 1024  # characters


@dataclass(frozen=True, slots=True)
class Condition:
    """One aspect of a mirror: `status` is True, False or Unknown."""

    type: str
    status: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason of a condition, or of an Event, with a sentence for its meaning and one for the remedy.

    For an Event `type` is Event and `status` is Normal or Warning.
    """

    type: str
    status: str
    name: str
    meaning: str
    action: str = ""

    def condition(self, message: str) -> Condition:
        """Return the condition with this reason."""
        return Condition(self.type, self.status, self.name, message)


def one_line(text: str, most: int) -> str:
    """Return the text of another program as one printable line of at most `most` characters."""
    line = " ".join("".join(each if each.isprintable() else " " for each in text).split())
    return line if len(line) <= most else f"{line[: most - 3]}..."


def existing_conditions(obj: Json) -> list[Json]:
    """Return the conditions in an object's status. Skip malformed ones, written before the schema existed."""
    found = dict_at(obj, "status").get("conditions")
    conditions = found if isinstance(found, list) else []
    return [one for one in conditions if isinstance(one, dict) and "type" in one and "status" in one]
