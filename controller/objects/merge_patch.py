"""Compute the difference between an object and its desired state as a JSON merge patch.

Maps contain the desired keys and may have others. Lists have the desired length and each element contains the desired
one; otherwise the patch has the whole list. That removes an added port, container or variable, unlike server-side
apply. Fields desired to be empty are emptied.

Some fields have no other keys at any depth: one more label in a selector finds other objects. A field that the user
removes from an affinity or from resources has to go, and so has the account of a removed upstream from a Secret.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from common import quantity

if TYPE_CHECKING:
    from common.types import Json

_EXACT: Final = frozenset(
    {"selector", "labelSelector", "matchLabels", "nodeSelector", "affinity", "tolerations", "resources", "data"}
)
# An empty selector of an affinity selects everything, and an absent one nothing.
_PRESENT: Final = frozenset({"labelSelector", "namespaceSelector"})
_AMOUNTS: Final = frozenset({"requests", "limits"})
# Maps of texts, in which an empty text is a value.
_TEXTS: Final = frozenset({"labels", "annotations", "matchLabels", "nodeSelector"})


def merge_patch(current: Json, desired: Json, *, exact: bool = False) -> Json:
    """Return the smallest merge patch of whole fields that makes `current` contain `desired`.

    With `exact`, the patch also removes all other keys.
    """
    patch: Json = {}
    for key, wanted in desired.items():
        if _has(current, key, wanted, exact=exact):
            continue
        there = current.get(key)
        whole = exact or key in _EXACT
        if isinstance(wanted, dict) and isinstance(there, dict) and wanted:
            patch[key] = (_patch_of_texts if _are_texts(key, wanted) else merge_patch)(there, wanted, exact=whole)
        else:
            patch[key] = None if is_empty(wanted) else wanted
    return patch | dict.fromkeys(_additions(current, desired) if exact else ())


def contains(current: Any, desired: Any, *, exact: bool = False) -> bool:
    """Return True if `current` is as desired. Its maps may have more keys, unless `exact` is set."""
    if is_empty(desired):
        return is_empty(current)
    if isinstance(desired, dict):
        if not isinstance(current, dict | None) or (exact and _additions(current or {}, desired)):
            return False
        return all(_has(current or {}, key, value, exact=exact) for key, value in desired.items())
    if isinstance(desired, list):
        return (
            isinstance(current, list)
            and len(current) == len(desired)
            and all(contains(one, other, exact=exact) for one, other in zip(current, desired, strict=True))
        )
    return bool(current == desired)


def _has(current: Json, key: str, wanted: Any, *, exact: bool) -> bool:
    there = current.get(key)
    if key in _PRESENT and (there is None) != (wanted is None):
        return False
    if _are_texts(key, wanted) and isinstance(there, dict | None):
        return not _patch_of_texts(there or {}, wanted, exact=exact or key in _EXACT)
    if key in _AMOUNTS and isinstance(there, dict) and isinstance(wanted, dict) and there.keys() == wanted.keys():
        return all(_same_amount(there[name], amount) for name, amount in wanted.items())
    return contains(there, wanted, exact=exact or key in _EXACT)


def _are_texts(key: str, wanted: Any) -> bool:
    return key in _TEXTS and isinstance(wanted, dict) and all(isinstance(each, str | None) for each in wanted.values())


def _patch_of_texts(current: Json, desired: Json, *, exact: bool) -> Json:
    patch = {key: text for key, text in desired.items() if current.get(key) != text}
    return patch | dict.fromkeys(current.keys() - desired.keys() if exact else ())


def _additions(current: Json, desired: Json) -> list[str]:
    """Return the keys that another writer added, or that are no longer desired."""
    return [
        name
        for name, value in current.items()
        if name not in desired and (name in _PRESENT or not is_empty(value)) and value is not None
    ]


def _same_amount(current: Any, desired: Any) -> bool:
    """Return True for two spellings of a quantity. The API server stores 1000m as 1."""
    try:
        return quantity.parse(current) == quantity.parse(desired)
    except ValueError:
        return bool(current == desired)


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
