"""Build the parts of pods and Services that the user sets in spec.cache and spec.agent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from common import names
from controller.objects import user_metadata

if TYPE_CHECKING:
    from common.part import Part
    from common.placement import PodMetadata
    from common.types import Json

# An empty selector selects everything, and an absent one nothing.
_KEPT: Final = ("labelSelector", "namespaceSelector")


def stored(part: Part | None) -> Json | None:
    """Return a part of the spec as the API server stores it: without empty fields. Return None for an empty one."""
    found = _without_empty(part.model_dump(by_alias=True)) if part is not None else None
    return found or None


def _without_empty(node: Any) -> Any:
    if isinstance(node, list):
        return [_without_empty(each) for each in node]
    if not isinstance(node, dict):
        return node
    fields = {key: _without_empty(value) for key, value in node.items() if value is not None}
    return {key: value for key, value in fields.items() if value not in ("", [], {}) or key in _KEPT}


def template_metadata(pods: PodMetadata, selector: Json, component: str) -> Json:
    """Return the metadata of a pod template. The labels of the selector cannot be overridden."""
    annotations = {"annotations": dict(pods.annotations)} if pods.annotations else {}
    recommended = names.recommended_labels(selector[names.MIRROR_LABEL], component)
    return {"labels": {**recommended, **(pods.labels or {}), **selector}, **annotations}


def recorded_keys(pods: PodMetadata) -> Json:
    """Return the annotation that records the keys of these labels and annotations."""
    return {user_metadata.ANNOTATION: user_metadata.record(pods.labels or (), pods.annotations or ())}
