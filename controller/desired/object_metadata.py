"""Build what all objects of a mirror share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from common import names
from common.version import VERSION
from controller.objects.ownership import owner_reference
from controller.objects.resources import DAEMON_SET

if TYPE_CHECKING:
    from common.types import Json
    from controller.model.mirror import Identity
    from controller.objects.resources import Kind
    from controller.settings import ControllerSettings


# Null removes a value that another writer adds. These fields could change the rights or the code of a pod.
EMPTY_IN_POD: Final = dict.fromkeys(
    (
        "initContainers",
        "hostAliases",
        "hostNetwork",
        "hostPID",
        "hostIPC",
        "shareProcessNamespace",
        "priorityClassName",
        "runtimeClassName",
        "nodeName",
        "dnsConfig",
    )
)
EMPTY_IN_CONTAINER: Final = dict.fromkeys(
    ("command", "envFrom", "lifecycle", "startupProbe", "workingDir", "volumeDevices")
)


def with_metadata(
    kind: Kind,
    mirror: Identity,
    settings: ControllerSettings,
    body: Json,
    name: str | None = None,
    *,
    annotations: Json | None = None,
) -> Json:
    """Return `body` with name, labels and an owner reference to the mirror."""
    component = names.AGENT if kind is DAEMON_SET else names.CACHE
    recommended = {**names.recommended_labels(mirror.name, component), **names.version_label(VERSION)}
    metadata: Json = {
        "name": name or mirror.object_name,
        "namespace": settings.namespace,
        "labels": {**recommended, **names.labels(mirror.name)},
        "ownerReferences": [{**owner_reference(mirror), "controller": True}],
    }
    if annotations:
        metadata["annotations"] = annotations
    return {"apiVersion": kind.api, "kind": kind.name, "metadata": metadata, **body}


def pull_secrets(settings: ControllerSettings) -> list[Json]:
    """Return references to the Secrets for pulling images."""
    return [{"name": name} for name in settings.image_pull_secrets]


def confined() -> Json:
    """Return a security context without privileges."""
    return {
        "allowPrivilegeEscalation": False,
        "privileged": None,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"], "add": None},
    }
