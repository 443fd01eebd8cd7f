"""What all objects of a mirror have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from common import names

if TYPE_CHECKING:
    from common.types import Json
    from controller.model.mirror import Identity
    from controller.objects.resources import Kind
    from controller.settings import ControllerSettings


# Fields of a pod that we leave empty and that would change what it may do or which code it runs: null in a desired
# object means that a value somebody puts there is taken out again.
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
    """`body` as an object of the mirror: named, labelled, owned, so that Kubernetes deletes it with the mirror."""
    owner = {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "name": mirror.name,
        "uid": mirror.uid,
        "controller": True,
    }
    metadata: Json = {
        "name": name or mirror.object_name,
        "namespace": settings.namespace,
        "labels": names.labels(mirror.name),
        "ownerReferences": [owner],
    }
    if annotations:
        metadata["annotations"] = annotations
    return {"apiVersion": kind.api, "kind": kind.name, "metadata": metadata, **body}


def pull_secrets(settings: ControllerSettings) -> list[Json]:
    """Names of the Secrets that the kubelet pulls our own images with."""
    return [{"name": name} for name in settings.image_pull_secrets]


def confined() -> Json:
    """What both containers may do: nothing beyond their user's rights."""
    return {
        "allowPrivilegeEscalation": False,
        "privileged": None,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"], "add": None},
    }
