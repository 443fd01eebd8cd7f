"""Refuse changes of fields that claims and StatefulSets cannot change after creation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from common import quantity
from common.defaults import dict_at, is_too_deep, with_defaults
from common.field_errors import FORBIDDEN, FieldError
from common.model import ClaimSpec

if TYPE_CHECKING:
    from decimal import Decimal

    from common.types import Json

_TEMPLATE: Final = ("spec", "volumeClaimTemplate")
_STORAGE: Final = ("spec", "resources", "requests", "storage")
_LIMIT: Final = ("spec", "resources", "limits", "storage")
# All immutable fields. The API server prunes fields that the model does not define.
_IMMUTABLE: Final = (
    ("metadata", "labels"),
    ("metadata", "annotations"),
    *(("spec", str(field.alias)) for field in ClaimSpec.model_fields.values() if field.alias != "resources"),
    _LIMIT,
)
_FIX: Final = (
    "cannot change after creation; create another mirror, or delete this one and create it again (its cache is lost)"
)


def immutable_field_errors(mirror: Any, old: Any) -> list[FieldError]:
    """Return the errors for immutable fields that differ between `old` and `mirror` (both JSON) after defaulting."""
    if is_too_deep(old) or is_too_deep(mirror):
        return []
    before = dict_at(with_defaults(old), *_TEMPLATE)
    after = dict_at(with_defaults(mirror, old), *_TEMPLATE)
    if not before or not after:
        return []
    changed = sorted(path for path in _IMMUTABLE if _meaning(before, path) != _meaning(after, path))
    errors = [FieldError(".".join((*_TEMPLATE, *path)), FORBIDDEN, _FIX) for path in changed]
    return errors + _shrink_errors(before, after, dict_at(old, "status").get("storage"))


def _meaning(template: Json, path: tuple[str, ...]) -> Any:
    """Return the value at `path` for comparison: None if empty or Kubernetes' default, the amount of a quantity.

    An empty storageClassName is not None: it disables provisioning.
    """
    value = dict_at(template, *path[:-1]).get(path[-1])
    if value in (None, [], {}) or (path[-1], value) in _KUBERNETES_DEFAULTS:
        return None
    return _amount(value) or value if path == _LIMIT else value


_KUBERNETES_DEFAULTS: Final = (("volumeMode", "Filesystem"), ("volumeAttributesClassName", ""))


def _shrink_errors(before: Json, after: Json, granted: Any) -> list[FieldError]:
    before_size, wanted, floor = _amount(_storage(before)), _amount(_storage(after)), _amount(granted)
    if before_size is None or wanted is None or floor is None or wanted >= min(before_size, floor):
        return []
    sentence = f"volumes cannot shrink, and {granted} is granted (status.storage); request at least that much"
    return [FieldError(".".join((*_TEMPLATE, *_STORAGE)), FORBIDDEN, sentence)]


def _storage(template: Json) -> Any:
    return dict_at(template, *_STORAGE[:-1]).get(_STORAGE[-1])


def _amount(value: Any) -> Decimal | None:
    try:
        return quantity.parse(value)
    except ValueError:
        return None
