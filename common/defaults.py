"""Fill in missing fields. Idempotent; fields that are set stay unchanged.

On update, a missing part of the claim keeps its stored value, because claims are immutable and defaults may change.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Final, get_args

from common import names, quantity
from common.field_types import AccessMode
from common.model import DEFAULT_ACCESS_MODES, DEFAULT_REPLICAS, DEFAULT_STORAGE, DEFAULT_TTL

if TYPE_CHECKING:
    from collections.abc import Iterable

    from common.types import Json

_ACCESS_MODES: Final = get_args(AccessMode)
# Levels. The model has 7, managedFields a few more. Far below the recursion limit of Python.
MAX_DEPTH: Final = 64


def with_defaults(mirror: Any, old: Any = None) -> Any:
    """Return a copy of a RegistryMirror (JSON) with defaults and labels. Never raises.

    Values of the wrong type stay unchanged; validation reports them.
    """
    if not isinstance(mirror, dict) or is_too_deep(mirror):
        return mirror
    result = copy.deepcopy(mirror)
    _fill_labels(_part(result, "metadata"))
    if isinstance(result.get("spec"), dict):
        result["spec"] = without_nulls(result["spec"])
        _fill_spec(result["spec"], dict_at(old, "spec"))
    return result


def _fill_labels(metadata: Any) -> None:
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if isinstance(name, str) and names.is_mirror_name(name):
        _fill(_part(metadata, "labels"), names.labels(name))


def _fill_spec(spec: Json, old: Json) -> None:
    _fill(spec, {"replicas": DEFAULT_REPLICAS, "ttl": DEFAULT_TTL})
    claim = _part(_part(spec, "volumeClaimTemplate"), "spec")
    old_claim = dict_at(old, "volumeClaimTemplate", "spec")
    if isinstance(claim, dict) and claim.get("accessModes") == []:  # the API server treats an empty list as absent
        del claim["accessModes"]
    _fill(claim, {"accessModes": _modes_of(old_claim) or list(DEFAULT_ACCESS_MODES)})
    requests = _part(_part(claim, "resources"), "requests")
    _fill(requests, {"storage": _storage_of(old_claim) or DEFAULT_STORAGE})


def _modes_of(claim: Json) -> list[str]:
    """Return the stored access modes; none if they are invalid, so that an old mistake does not return."""
    modes = claim.get("accessModes")
    return list(modes) if isinstance(modes, list) and all(mode in _ACCESS_MODES for mode in modes) else []


def _storage_of(claim: Json) -> Any:
    amount = dict_at(claim, "resources", "requests").get("storage")
    try:
        return amount if quantity.parse(amount) >= quantity.LEAST_BYTES else None
    except ValueError:
        return None


def without_nulls(node: Any) -> Any:
    """Return a copy without null values: `key:` without a value is null in YAML and means not set."""
    if isinstance(node, list):
        return [without_nulls(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {key: without_nulls(value) for key, value in node.items() if value is not None}


def _part(node: Any, key: str) -> Any:
    """Return the value of `key`; set it to an empty object if it is missing."""
    if not isinstance(node, dict):
        return node
    if node.get(key) is None:
        node[key] = {}
    return node[key]


def _fill(node: Any, values: Json) -> None:
    if isinstance(node, dict):
        for key, value in values.items():
            if node.get(key) is None:
                node[key] = value


def dict_at(node: Any, *path: str) -> Json:
    """Return the object at `path` below `node` (not a copy), or an empty one if there is no object."""
    for key in path:
        node = node.get(key) if isinstance(node, dict) else None
    return node if isinstance(node, dict) else {}


def is_too_deep(node: Any) -> bool:
    """Return True if the value has more levels than any RegistryMirror. Iterative, because recursion could overflow."""
    level = [node]
    for _ in range(MAX_DEPTH):
        if not level:
            return False
        level = [child for parent in level for child in _children(parent)]
    return bool(level)


def _children(node: Any) -> Iterable[Any]:
    if isinstance(node, dict):
        return node.values()
    return node if isinstance(node, list) else ()
