"""Remember which labels and annotations of an object come from the spec of its mirror.

Other writers add keys too, such as `kubectl rollout restart`. So a key that the user removes from the spec is only
removed from the object if the object says that it came from there.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from common import names
from common.defaults import dict_at
from controller.objects.resources import SERVICE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from common.types import Json
    from controller.objects.resources import Kind

# Annotation of a StatefulSet, DaemonSet or Service with the keys of labels and annotations from the spec.
ANNOTATION: Final = f"{names.GROUP}/metadata-keys"
_PARTS: Final = ("labels", "annotations")


def record(labels: Iterable[str], annotations: Iterable[str]) -> str | None:
    """Return the value of the annotation; None if there are no keys."""
    keys = {part: sorted(each) for part, each in zip(_PARTS, (labels, annotations), strict=True)}
    return json.dumps(keys, separators=(",", ":")) if any(keys.values()) else None


def without_former_keys(kind: Kind, current: Json, desired: Json) -> Json:
    """Return `desired` with null for each recorded key that is no longer desired."""
    recorded = _recorded(current)
    path = ("metadata",) if kind is SERVICE else ("spec", "template", "metadata")
    metadata = dict_at(desired, *path)
    gone = {part: dict.fromkeys(recorded[part] - metadata.get(part, {}).keys()) for part in recorded}
    if not any(gone.values()):
        return desired
    return _replaced(desired, path, {part: {**metadata.get(part, {}), **keys} for part, keys in gone.items() if keys})


def _recorded(current: Json) -> dict[str, set[str]]:
    """Return the recorded keys. Ignore a value that another program wrote."""
    text = dict_at(current, "metadata", "annotations").get(ANNOTATION)
    try:
        parsed = json.loads(text) if isinstance(text, str) else {}
    except ValueError:
        parsed = {}
    found = {part: dict_at({"": parsed}, "").get(part) for part in _PARTS}
    return {
        part: {key for key in keys if isinstance(key, str)} for part, keys in found.items() if isinstance(keys, list)
    }


def _replaced(node: Json, path: tuple[str, ...], fields: Json) -> Json:
    """Return a copy of `node` with these fields at a path."""
    if not path:
        return {**node, **fields}
    return {**node, path[0]: _replaced(node[path[0]], path[1:], fields)}
