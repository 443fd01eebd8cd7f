"""Find differences that the API server refuses to patch. The object is replaced instead."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from controller.objects.merge_patch import contains
from controller.objects.resources import DAEMON_SET, SECRET, SERVICE, STATEFUL_SET, Kind

if TYPE_CHECKING:
    from common.types import Json


# Immutable fields of spec. The size in volumeClaimTemplates is the business of controller.storage.
_FIELDS: Final[dict[Kind, tuple[str, ...]]] = {
    STATEFUL_SET: ("selector", "serviceName", "podManagementPolicy"),
    DAEMON_SET: ("selector",),
    SERVICE: ("clusterIP",),
}


def immutable_differences(kind: Kind, current: Json, desired: Json) -> list[str]:
    """Return the paths of differing immutable fields. An adopted object of an old installation may have some."""
    if kind is SECRET:
        return _of_secret(current, desired)
    differing = [
        f"spec.{field}" for field in _FIELDS.get(kind, ()) if not _same(current["spec"], desired["spec"], field)
    ]
    if kind is STATEFUL_SET and _claim_name(current) != _claim_name(desired):
        differing.append("spec.volumeClaimTemplates")  # the name: our pods would not find their claims
    return differing


def without_immutable(kind: Kind, desired: Json) -> Json:
    """Return the part of a desired object that a patch may contain."""
    if kind is not STATEFUL_SET:
        return desired
    return {**desired, "spec": {key: value for key, value in desired["spec"].items() if key != "volumeClaimTemplates"}}


def _of_secret(current: Json, desired: Json) -> list[str]:
    """Return the differences. An immutable Secret with the right content stays: a policy may make all of them so."""
    differing = ["type"] if current.get("type") != desired.get("type") else []
    stale = current.get("immutable") and not contains(current.get("data"), desired.get("data"))
    return [*differing, "immutable"] if stale else differing


def _claim_name(stateful_set: Json) -> str | None:
    templates = stateful_set["spec"].get("volumeClaimTemplates") or [{"metadata": {}}]
    name: str | None = templates[0]["metadata"].get("name")
    return name


def _same(current: Json, desired: Json, field: str) -> bool:
    if field == "selector":  # one more label selects other pods
        return bool(current.get(field) == desired.get(field))
    return contains(current.get(field), desired[field]) if field in desired else current.get(field) != "None"
