"""Bind a write to the object that was read."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from common.types import Json


def preconditions(obj: Json) -> Json:
    """Return the UID and resource version, so that the API server refuses a write to a changed object."""
    return {key: obj["metadata"][key] for key in ("uid", "resourceVersion")}
