"""Build the inputs of the controller's pure functions: mirrors, settings, claims, current objects."""

from __future__ import annotations

import base64
import copy
from typing import TYPE_CHECKING, Any

from common import names
from common.settings import read
from controller.model.inputs import Credentials, CredentialsState, Inputs, KeyPair, ServingCertificate
from controller.model.mirror import Mirror, parse_mirror
from controller.settings import ControllerSettings
from tests.support.mirrors import MirrorBuilder, a_mirror

if TYPE_CHECKING:
    from common.field_errors import FieldError
    from common.types import Json


UID = "0a5e0000-0000-4000-8000-000000000001"
CREATED = "2026-01-01T00:00:00Z"
NOW = "2026-06-01T12:00:00Z"
LATER = "2026-06-01T13:00:00Z"


def stored(
    builder: MirrorBuilder | None = None, *, uid: str = UID, created: str = CREATED, generation: int = 1
) -> Json:
    """Return a RegistryMirror as the API server stores it."""
    made = {"uid": uid, "creationTimestamp": created, "generation": generation, "resourceVersion": "1"}
    raw = (builder or a_mirror()).raw()
    return {**raw, "metadata": {**raw["metadata"], **made}}


def parsed(builder: MirrorBuilder | None = None, *, uid: str = UID) -> Mirror:
    """Return a parsed mirror."""
    mirror: Mirror | list[FieldError] = parse_mirror(stored(builder, uid=uid), ())
    assert isinstance(mirror, Mirror), mirror
    return mirror


def settings(**variables: str) -> ControllerSettings:
    """Return the settings with these variables."""
    return read(ControllerSettings, variables)


PAIR = KeyPair("-----BEGIN CERTIFICATE-----\n(of the mirror)\n", "-----BEGIN PRIVATE KEY-----\n(of the mirror)\n")
CA = "-----BEGIN CERTIFICATE-----\n(of the CA)\n"


def encoded(value: bytes) -> str:
    """Return a value as a Secret holds it."""
    return base64.b64encode(value).decode()


def inputs(
    *,
    credentials: Credentials | tuple[Credentials, ...] | None = None,
    tls: ServingCertificate | None = None,
    holder: str | None = None,
    hides_registry: bool = False,
    images_holders: dict[str, str] | None = None,
    withdrawing: bool = False,
) -> Inputs:
    """Return inputs without credentials, with an issued certificate, and without other mirrors."""
    credentials = credentials or Credentials(CredentialsState.NOT_REQUIRED)
    return Inputs(
        credentials=credentials if isinstance(credentials, tuple) else (credentials,),
        tls=tls or ServingCertificate(CA, PAIR),
        masquerade_holder=holder,
        hides_registry=hides_registry,
        images_holders=images_holders or {},
        withdrawing=withdrawing,
    )


def a_claim(ordinal: int, asks: str, has: str | None = None, mirror: str = "docker") -> Json:
    """Return a claim with a volume of size `has`, or a pending one."""
    status: Json = {"phase": "Pending"} if has is None else {"phase": "Bound", "capacity": {"storage": has}}
    return {
        "metadata": {
            "name": f"image-store-registry-mirror-{mirror}-{ordinal}",
            "uid": f"claim-{ordinal}",
            "labels": names.labels(mirror),
            "ownerReferences": [{"kind": names.KIND, "uid": UID}],
        },
        "spec": {"resources": {"requests": {"storage": asks}}},
        "status": status,
    }


def a_stateful_set(storage: str = "20Gi", ready: int = 0) -> Json:
    """Return a StatefulSet with the fields that storage and status read."""
    template = {
        "metadata": {"ownerReferences": [{"uid": UID}]},
        "spec": {"resources": {"requests": {"storage": storage}}},
    }
    return {
        "metadata": {"name": "registry-mirror-docker", "generation": 1},
        "spec": {"volumeClaimTemplates": [template]},
        "status": {"observedGeneration": 1, "replicas": 2, "readyReplicas": ready},
    }


def a_daemon_set(desired: int, ready: int, *, updated: int | None = None, generation: int = 1, seen: int = 1) -> Json:
    """Return a DaemonSet with these counts; `seen` is its observed generation."""
    counts = {"desiredNumberScheduled": desired, "numberReady": ready}
    counts["updatedNumberScheduled"] = desired if updated is None else updated
    return {
        "metadata": {"name": "registry-mirror-docker", "generation": generation},
        "status": {"observedGeneration": seen, **counts},
    }


def merged(target: Any, patch: Any) -> Any:
    """Return `target` after a JSON merge patch (RFC 7386, section 2)."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = copy.deepcopy(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result
