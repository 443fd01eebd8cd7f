"""What may not change once a mirror exists, because the claims and the StatefulSet made from it cannot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from common import quantity
from common.defaults import dict_at, is_too_deep, with_defaults
from common.field_errors import FORBIDDEN, FieldError
from common.model import ClaimSpec

if TYPE_CHECKING:
    from decimal import Decimal

_TEMPLATE: Final = ("spec", "volumeClaimTemplate")
_STORAGE: Final = ("spec", "resources", "requests", "storage")
_LIMIT: Final = ("spec", "resources", "limits", "storage")
# One table of all that cannot change. Fields that the model does not know are not kept, so they cannot differ either.
_IMMUTABLE: Final = (
    ("metadata", "labels"),
    ("metadata", "annotations"),
    *(("spec", str(field.alias)) for field in ClaimSpec.model_fields.values() if field.alias != "resources"),
    _LIMIT,
)
_WAY_OUT: Final = (
    "cannot change once created; make another mirror, or delete this one and create it again (it is a cache)"
)


def immutable_field_errors(mirror: Any, old: Any) -> list[FieldError]:
    """Changes of the claim from `old` to `mirror` (both raw JSON) that Kubernetes could not carry out.

    Both are compared with their defaults filled in. An old object without a readable claim has nothing to keep.
    """
    if is_too_deep(old) or is_too_deep(mirror):
        return []
    before = dict_at(with_defaults(old), *_TEMPLATE)
    after = dict_at(with_defaults(mirror, old), *_TEMPLATE)
    if not before or not after:
        return []
    changed = sorted(path for path in _IMMUTABLE if _meaning(before, path) != _meaning(after, path))
    problems = [FieldError(".".join((*_TEMPLATE, *path)), FORBIDDEN, _WAY_OUT) for path in changed]
    return problems + _shrinking(before, after, dict_at(old, "status").get("storage"))


def _meaning(template: dict[str, Any], path: tuple[str, ...]) -> Any:
    """What stands at `path`, None where it says no more than nothing; the amount of a quantity, not its spelling.

    An empty storageClassName says something: it turns provisioning off, where none at all is the default class.
    """
    value = dict_at(template, *path[:-1]).get(path[-1])
    if value in (None, [], {}) or (path[-1], value) in _KUBERNETES_DEFAULTS:
        return None
    return _amount(value) or value if path == _LIMIT else value


_KUBERNETES_DEFAULTS: Final = (("volumeMode", "Filesystem"), ("volumeAttributesClassName", ""))


def _shrinking(before: dict[str, Any], after: dict[str, Any], granted: Any) -> list[FieldError]:
    was, wanted, floor = _amount(_storage(before)), _amount(_storage(after)), _amount(granted)
    if was is None or wanted is None or floor is None or wanted >= min(was, floor):
        return []
    sentence = f"volumes do not shrink, and {granted} were granted (status.storage): ask for at least as much"
    return [FieldError(".".join((*_TEMPLATE, *_STORAGE)), FORBIDDEN, sentence)]


def _storage(template: dict[str, Any]) -> Any:
    return dict_at(template, *_STORAGE[:-1]).get(_STORAGE[-1])


def _amount(value: Any) -> Decimal | None:
    try:
        return quantity.parse(value)
    except ValueError:
        return None
