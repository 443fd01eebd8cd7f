"""Read the API server's audit log."""

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
    """One request: time of arrival (seconds since the epoch), what it was, and the status of the answer."""

    at: float
    verb: str
    resource: str
    name: str
    status: int

    @property
    def accepted(self) -> bool:
        """Return True if it was a write that was stored."""
        return self.verb in WRITES and self.status < 300


def entries(cluster: Cluster) -> Iterator[Json]:
    """Yield the complete lines of the audit log."""
    with cluster.audit_log.open() as lines:
        for line in lines:
            if line.endswith("\n"):
                yield json.loads(line)


def requests(cluster: Cluster, credential: str | None = None, user: str | None = None) -> Iterator[Asked]:
    """Yield all answered requests of one certificate or one user, without watches."""
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
    """Return the API server's id of a client certificate; two certificates of a user differ."""
    der = x509.load_pem_x509_certificate(certificate.read_bytes()).public_bytes(Encoding.DER)
    return f"X509SHA256={hashlib.sha256(der).hexdigest()}"
