"""What cannot change once created, and what is done instead: the object is made again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from controller.objects.merge_patch import contains
from controller.objects.resources import DAEMON_SET, SECRET, SERVICE, STATEFUL_SET, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from common.types import Json


# Fields of spec that the API server refuses to change. The size in volumeClaimTemplates is the business of `growth`.
_FIELDS: Final[dict[Kind, tuple[str, ...]]] = {
    STATEFUL_SET: ("selector", "serviceName", "podManagementPolicy"),
    DAEMON_SET: ("selector",),
    SERVICE: ("clusterIP",),
}


def frozen_differences(kind: Kind, current: Json, desired: Json) -> list[str]:
    """Paths of the fields that differ and cannot be changed: an adopted object of an old installation may have them."""
    if kind is SECRET:
        return _frozen_of_secret(current, desired)
    differing = [
        f"spec.{field}" for field in _FIELDS.get(kind, ()) if not _same(current["spec"], desired["spec"], field)
    ]
    if kind is STATEFUL_SET and _claim_name(current) != _claim_name(desired):
        differing.append("spec.volumeClaimTemplates")  # of another name: the pods of ours would not find their volume
    return differing


def _frozen_of_secret(current: Json, desired: Json) -> list[str]:
    """One that is immutable may stay while its content is right: somebody's policy may make all of them so."""
    differing = ["type"] if current.get("type") != desired.get("type") else []
    stale = current.get("immutable") and not contains(current.get("data"), desired.get("data"))
    return [*differing, "immutable"] if stale else differing


def _claim_name(stateful_set: Json) -> str | None:
    templates = stateful_set["spec"].get("volumeClaimTemplates") or [{"metadata": {}}]
    name: str | None = templates[0]["metadata"].get("name")
    return name


def _same(current: Json, desired: Json, field: str) -> bool:
    if field == "selector":  # a selector with one more label selects other pods
        return bool(current.get(field) == desired.get(field))
    return contains(current.get(field), desired[field]) if field in desired else current.get(field) != "None"


def without_frozen(kind: Kind, desired: Json) -> Json:
    """What may be sent in a patch."""
    dropped: Iterable[str] = ("volumeClaimTemplates",) if kind is STATEFUL_SET else ()
    if "spec" not in desired:
        return desired
    return {**desired, "spec": {key: value for key, value in desired["spec"].items() if key not in dropped}}
