"""Decide if an object with the name of a mirror's object belongs to the mirror."""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING

from common import names

if TYPE_CHECKING:
    from common.types import Json
    from controller.model.mirror import Identity


class Ownership(Enum):
    """Relation of an object to a mirror."""

    OWNED = auto()
    ORPHANED = auto()  # our labels without a controller: restored, orphaned, or of an old installation
    TERMINATING = auto()  # being deleted, or of an earlier mirror of this name
    NOT_OWNED = auto()


def ownership_of(current: Json, mirror: Identity) -> Ownership:
    """Return the relation of an object to a mirror, by its controller, labels and deletionTimestamp."""
    metadata = current["metadata"]
    owner = controller_of(current)
    if owner is not None and owner["uid"] != mirror.uid:
        is_earlier = (_kind(owner), owner.get("name")) == (f"{names.KIND}.{names.GROUP}", mirror.name)
        return Ownership.TERMINATING if is_earlier else Ownership.NOT_OWNED
    if owner is None and names.mirror_of(metadata.get("labels") or {}) != mirror.name:
        return Ownership.NOT_OWNED
    if "deletionTimestamp" in metadata:
        return Ownership.TERMINATING
    return Ownership.OWNED if owner else Ownership.ORPHANED


def controller_of(current: Json) -> Json | None:
    """Return the owner reference to the object's controller."""
    references = current["metadata"].get("ownerReferences") or []
    return next((reference for reference in references if reference.get("controller")), None)


def owner_uids(obj: Json) -> list[str]:
    """Return the UIDs of all owners of an object."""
    return [owner["uid"] for owner in obj.get("metadata", {}).get("ownerReferences") or []]


def owner_reference(mirror: Identity) -> Json:
    """Return the reference that makes Kubernetes collect an object with the mirror."""
    return {"apiVersion": names.API_VERSION, "kind": names.KIND, "name": mirror.name, "uid": mirror.uid}


def describe_owner(current: Json) -> str:
    """Describe the controller of an object for a message."""
    owner = controller_of(current)
    return f"belongs to {_kind(owner)} {owner['name']}" if owner else "has no owner and not our labels"


def _kind(owner: Json) -> str:
    """Return the kind as kubectl names it, like `Deployment.apps`. Another group may have a RegistryMirror too."""
    group, slash, _ = owner["apiVersion"].partition("/")
    return f"{owner['kind']}.{group}" if slash else str(owner["kind"])
