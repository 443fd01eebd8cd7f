"""What is filled in where it is missing. Idempotent, and nothing that is set is touched.

On update a missing part of the claim keeps what the stored object had, not today's default: a claim cannot be
changed afterwards, so a changed default must not reach mirrors that exist.
"""

from __future__ import annotations

import copy
from typing import Any

from common import names
from common.model import DEFAULT_ACCESS_MODES, DEFAULT_REPLICAS, DEFAULT_STORAGE, DEFAULT_TTL


def defaulted(mirror: Any, old: Any = None) -> Any:
    """A copy of a RegistryMirror, as raw JSON, with defaults and labels filled in.

    Whatever has an unexpected shape is left as it is: validation names it.
    """
    result = copy.deepcopy(mirror)
    if not isinstance(result, dict):
        return result
    _fill_labels(_part(result, "metadata"))
    if isinstance(result.get("spec"), dict):
        result["spec"] = without_nulls(result["spec"])
        _fill_spec(result["spec"], dict_at(old, "spec"))
    return result


def _fill_labels(metadata: Any) -> None:
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if isinstance(name, str) and names.is_mirror_name(name):
        _fill(_part(metadata, "labels"), names.labels(name))


def _fill_spec(spec: dict[str, Any], old: dict[str, Any]) -> None:
    _fill(spec, {"replicas": DEFAULT_REPLICAS, "ttl": DEFAULT_TTL})
    claim = _part(_part(spec, "volumeClaimTemplate"), "spec")
    old_claim = dict_at(old, "volumeClaimTemplate", "spec")
    _fill(claim, {"accessModes": old_claim.get("accessModes") or list(DEFAULT_ACCESS_MODES)})
    requests = _part(_part(claim, "resources"), "requests")
    _fill(requests, {"storage": dict_at(old_claim, "resources", "requests").get("storage") or DEFAULT_STORAGE})


def without_nulls(node: Any) -> Any:
    """A copy without the keys that are null: `key:` with nothing behind it is null in YAML, and means not set."""
    if not isinstance(node, dict):
        return node
    return {key: without_nulls(value) for key, value in node.items() if value is not None}


def _part(node: Any, key: str) -> Any:
    """The object under `key`, made where there is none; anything else that stands there is returned as it is."""
    if not isinstance(node, dict):
        return node
    if node.get(key) is None:
        node[key] = {}
    return node[key]


def _fill(node: Any, values: dict[str, Any]) -> None:
    if isinstance(node, dict):
        for key, value in values.items():
            if node.get(key) in (None, []):
                node[key] = value


def dict_at(node: Any, *path: str) -> dict[str, Any]:
    """The object at `path` below `node`, itself and not a copy; an empty one where anything else stands there."""
    for key in path:
        node = node.get(key) if isinstance(node, dict) else None
    return node if isinstance(node, dict) else {}
