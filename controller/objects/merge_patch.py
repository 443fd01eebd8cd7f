"""The difference between an object and what is desired of it, as a JSON merge patch.

Maps: what we set is there, what others add may stay. Lists: as long as ours, each element containing ours, or the
whole list is sent; so an added port, container or variable is taken out, which server-side apply cannot do. What
is desired to be empty is empty: a field that a changed setting no longer fills is emptied on the cluster too.
Selectors are as we set them and no more: with one more label they find other objects.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from common.types import Json

_EXACT: Final = frozenset({"selector", "labelSelector", "matchLabels", "nodeSelector"})


def merge_patch(current: Json, desired: Json) -> Json:
    """The smallest merge patch of whole fields that makes `live` contain `desired`; empty where it does already."""
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
    """Whether `live` is as desired, however much of its own it adds to maps."""
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
    """What somebody added to a map that is to be exactly ours."""
    if key not in _EXACT or not isinstance(there, dict) or not isinstance(wanted, dict):
        return []
    return [name for name, value in there.items() if name not in wanted and not is_empty(value)]


def is_empty(value: Any) -> bool:
    """Whether the API server stores it like something that is not there."""
    return value is None or value in ("", [], {})


def without_nulls(desired: Any) -> Any:
    """`desired` as it is made anew, with nothing there to be taken out; in a map of texts null is stored as ""."""
    if isinstance(desired, dict):
        return {key: without_nulls(value) for key, value in desired.items() if value is not None}
    return [without_nulls(value) for value in desired] if isinstance(desired, list) else desired


def paths(patch: Json, prefix: str = "") -> list[str]:
    """Fields that a patch changes, as a person reads them; for Events and logs, which must not carry values."""
    found = []
    for key, value in patch.items():
        path = f"{prefix}.{key}" if prefix else key
        found += paths(value, path) if isinstance(value, dict) and value else [path]
    return found
