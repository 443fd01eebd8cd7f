"""What the API server wrote down about who asked what, and what it answered."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from common.types import Json
    from tests.localcluster.cluster import Cluster

WRITES: Final = frozenset({"create", "update", "patch", "delete", "deletecollection"})
CREDENTIAL: Final = "authentication.kubernetes.io/credential-id"


@dataclass(frozen=True)
class Asked:
    """One request: when it came (seconds since the epoch), what it was, and with which status it was answered."""

    at: float
    verb: str
    resource: str
    name: str
    status: int

    @property
    def accepted(self) -> bool:
        """Whether it was a write that was stored."""
        return self.verb in WRITES and self.status < 300


def entries(cluster: Cluster) -> Iterator[Json]:
    """The lines of the audit log as they are; without one that is being written now."""
    with cluster.audit_log.open() as lines:
        for line in lines:
            if line.endswith("\n"):
                yield json.loads(line)


def requests(cluster: Cluster, credential: str | None = None, user: str | None = None) -> Iterator[Asked]:
    """All that was answered so far, of one certificate or of one user, but watches."""
    for event in entries(cluster):
        if event["verb"] == "watch" or "objectRef" not in event:
            continue
        if credential and credential not in event["user"].get("extra", {}).get(CREDENTIAL, []):
            continue
        if user and event["user"].get("username") != user:
            continue
        ref, status = event["objectRef"], event.get("responseStatus", {})
        yield Asked(
            at=datetime.fromisoformat(event["requestReceivedTimestamp"]).timestamp(),
            verb=event["verb"],
            resource="/".join(filter(None, (ref.get("resource"), ref.get("subresource")))),
            name=ref.get("name", ""),
            status=status.get("code", 0),
        )


def credential(certificate: Path) -> str:
    """What the API server calls the holder of a certificate: two of one user's are two."""
    der = x509.load_pem_x509_certificate(certificate.read_bytes()).public_bytes(Encoding.DER)
    return f"X509SHA256={hashlib.sha256(der).hexdigest()}"
