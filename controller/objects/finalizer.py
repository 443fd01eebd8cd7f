"""Read and change the finalizers of a mirror."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from common import names
from controller.objects.preconditions import preconditions

if TYPE_CHECKING:
    from common.types import Json

FINALIZER: Final = f"{names.GROUP}/nodes"

ORPHAN: Final = "orphan"  # Kubernetes' own finalizers: of a deletion that leaves what was made for the object,

FOREGROUND: Final = "foregroundDeletion"  # and of one that deletes that first


def is_terminating(obj: Json) -> bool:
    """Whether the mirror, or what was made for it, is being deleted."""
    return "deletionTimestamp" in obj["metadata"]


def finalizers(obj: Json) -> list[str]:
    """What keeps the mirror from going."""
    return list(obj["metadata"].get("finalizers") or [])


def finalizer_patch(obj: Json, *, held: bool) -> Json | None:
    """Merge patch that adds our finalizer or takes it off, leaving others'; None where it is so already."""
    present = finalizers(obj)
    if held == (FINALIZER in present):
        return None
    wanted = [*present, FINALIZER] if held else [each for each in present if each != FINALIZER]
    return {"metadata": {**preconditions(obj), "finalizers": wanted}}
