"""Compute the difference between an object and its desired state as a JSON merge patch.

Maps contain the desired keys and may have others. Lists have the desired length and each element contains the desired
one; otherwise the patch has the whole list. That removes an added port, container or variable, unlike server-side
apply. Fields desired to be empty are emptied. Selectors have no other keys: one more label finds other objects.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from common.types import Json

_EXACT: Final = frozenset({"selector", "labelSelector", "matchLabels", "nodeSelector"})


def merge_patch(current: Json, desired: Json) -> Json:
    """Return the smallest merge patch of whole fields that makes `current` contain `desired`."""
    patch: Json = {}
    for key, wanted in desired.items():
        there = current.get(key)
        if isinstance(wanted, dict) and isinstance(there, dict) and wanted:
            inner = merge_patch(there, wanted) | dict.fromkeys(_additions(key, there, wanted))
            if inner:
                patch[key] = inner
        elif not contains(there, wanted):
            patch[key] = None if is_empty(wanted) else wanted
    return patch


def contains(current: Any, desired: Any) -> bool:
    """Return True if `current` is as desired. Its maps may have more keys."""
    if is_empty(desired):
        return is_empty(current)
    if isinstance(desired, dict):
        return isinstance(current, dict | None) and all(
            _has(current or {}, key, value) for key, value in desired.items()
        )
    if isinstance(desired, list):
        return (
            isinstance(current, list)
            and len(current) == len(desired)
            and all(contains(one, other) for one, other in zip(current, desired, strict=True))
        )
    return bool(current == desired)


def _has(current: Json, key: str, wanted: Any) -> bool:
    there = current.get(key)
    return contains(there, wanted) and not _additions(key, there, wanted)


def _additions(key: str, there: Any, wanted: Any) -> list[str]:
    """Return the keys that another writer added to a map with exact keys."""
    if key not in _EXACT or not isinstance(there, dict) or not isinstance(wanted, dict):
        return []
    return [name for name, value in there.items() if name not in wanted and not is_empty(value)]


def is_empty(value: Any) -> bool:
    """Return True if the API server stores the value like an absent field."""
    return value is None or value in ("", [], {})


def without_nulls(desired: Any) -> Any:
    """Return `desired` for a create request. In a map of strings the API server would store null as ""."""
    if isinstance(desired, dict):
        return {key: without_nulls(value) for key, value in desired.items() if value is not None}
    return [without_nulls(value) for value in desired] if isinstance(desired, list) else desired


def paths(patch: Json, prefix: str = "") -> list[str]:
    """Return the paths of the fields that a patch changes, without values, for Events and logs."""
    found = []
    for key, value in patch.items():
        path = f"{prefix}.{key}" if prefix else key
        found += paths(value, path) if isinstance(value, dict) and value else [path]
    return found
