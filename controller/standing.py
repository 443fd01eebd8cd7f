"""Whose an object is that has the name of one of ours."""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from common import names

if TYPE_CHECKING:
    from controller.mirror import Identity

Json = dict[str, Any]


class Standing(Enum):
    """How an object stands to a mirror."""

    OURS = auto()
    ORPHAN = auto()  # ours by its labels, without a controller: restored, orphaned, or of an old installation
    PASSING = auto()  # on its way out, or left by an earlier mirror of this name
    FOREIGN = auto()


def standing(live: Json, mirror: Identity) -> Standing:
    """Whose `live` is. One that is being deleted, or whose owner is an earlier mirror of this name, is passing."""
    metadata = live["metadata"]
    owner = controller_of(live)
    if owner is not None and owner["uid"] != mirror.uid:
        earlier = (_kind(owner), owner.get("name")) == (f"{names.KIND}.{names.GROUP}", mirror.name)
        return Standing.PASSING if earlier else Standing.FOREIGN
    if owner is None and names.mirror_of(metadata.get("labels") or {}) != mirror.name:
        return Standing.FOREIGN
    if "deletionTimestamp" in metadata:
        return Standing.PASSING
    return Standing.OURS if owner else Standing.ORPHAN


def controller_of(live: Json) -> Json | None:
    """The owner reference that names the object's controller."""
    references = live["metadata"].get("ownerReferences") or []
    return next((reference for reference in references if reference.get("controller")), None)


def describe_owner(live: Json) -> str:
    """Who has an object, for a person: its controller, or that it has none and lacks our labels."""
    owner = controller_of(live)
    return f"belongs to {_kind(owner)} {owner['name']}" if owner else "has no owner and not our labels"


def _kind(owner: Json) -> str:
    """As kubectl names it, `Deployment.apps`: another group may have a RegistryMirror too."""
    group, slash, _ = owner["apiVersion"].partition("/")
    return f"{owner['kind']}.{group}" if slash else str(owner["kind"])
