"""Read and change the finalizers of a mirror."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from common import names
from controller.objects.preconditions import preconditions

if TYPE_CHECKING:
    from common.types import Json

FINALIZER: Final = f"{names.GROUP}/nodes"

# Finalizers of Kubernetes: a deletion that leaves the dependents, and one that deletes them first.
ORPHAN: Final = "orphan"
FOREGROUND: Final = "foregroundDeletion"


def is_terminating(obj: Json) -> bool:
    """Return True if an object is being deleted."""
    return "deletionTimestamp" in obj["metadata"]


def finalizers(obj: Json) -> list[str]:
    """Return the finalizers of an object."""
    return list(obj["metadata"].get("finalizers") or [])


def finalizer_patch(obj: Json, *, present: bool) -> Json | None:
    """Return a merge patch that adds or removes our finalizer, or None if nothing changes."""
    current = finalizers(obj)
    if present == (FINALIZER in current):
        return None
    wanted = [*current, FINALIZER] if present else [each for each in current if each != FINALIZER]
    return {"metadata": {**preconditions(obj), "finalizers": wanted}}
