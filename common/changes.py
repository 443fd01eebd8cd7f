"""What may not change once a mirror exists, because the claims and the StatefulSet made from it cannot."""

from __future__ import annotations

import copy
from typing import Any, Final

from common import quantity
from common.defaults import defaulted, dict_at
from common.problems import FORBIDDEN, Problem

_TEMPLATE: Final = ("spec", "volumeClaimTemplate")
_STORAGE: Final = ("spec", "resources", "requests", "storage")
_WAY_OUT: Final = (
    "cannot change once created; make another mirror, or delete this one and create it again (it is a cache)"
)


def refused_changes(mirror: Any, old: Any) -> list[Problem]:
    """Changes of the claim from `old` to `mirror` (both raw JSON) that Kubernetes could not carry out.

    Both are compared with their defaults filled in. An old object without a readable claim has nothing to keep.
    """
    before = dict_at(defaulted(old), *_TEMPLATE)
    after = dict_at(defaulted(mirror, old), *_TEMPLATE)
    if not before or not after:
        return []
    frozen_before, frozen_after = _without_storage(before), _without_storage(after)
    changed = [
        path for path in _paths(frozen_before, frozen_after) if _at(frozen_before, path) != _at(frozen_after, path)
    ]
    problems = [Problem(".".join((*_TEMPLATE, *path)), FORBIDDEN, _WAY_OUT) for path in sorted(changed)]
    return problems + _shrinking(before, after, dict_at(old, "status").get("storage"))


def _without_storage(template: dict[str, Any]) -> dict[str, Any]:
    result = copy.deepcopy(template)
    dict_at(result, *_STORAGE[:-1]).pop(_STORAGE[-1], None)
    return result


def _paths(*templates: dict[str, Any]) -> set[tuple[str, str]]:
    """Fields of metadata and spec that any of the templates sets."""
    return {(part, key) for template in templates for part in ("metadata", "spec") for key in dict_at(template, part)}


def _at(template: dict[str, Any], path: tuple[str, str]) -> Any:
    """What stands there; what is empty counts as left out, as the API server has it."""
    return dict_at(template, path[0]).get(path[1]) or None


def _shrinking(before: dict[str, Any], after: dict[str, Any], granted: Any) -> list[Problem]:
    amounts = [_amount(dict_at(template, *_STORAGE[:-1]).get(_STORAGE[-1])) for template in (before, after)]
    floor = _amount(granted)
    if None in amounts or floor is None:
        return []
    was, wanted = amounts
    assert was is not None and wanted is not None  # noqa: S101, PT018 (for mypy: the line above has excluded None)
    if wanted >= min(was, floor):
        return []
    sentence = f"volumes do not shrink, and {granted} were granted (status.storage): ask for at least as much"
    return [Problem(".".join((*_TEMPLATE, *_STORAGE)), FORBIDDEN, sentence)]


def _amount(value: Any) -> Any:
    try:
        return quantity.parse(value)
    except ValueError:
        return None
