"""What cannot change once created, and what is done instead: the object is made again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from controller.difference import contains
from controller.kinds import DAEMON_SET, SECRET, SERVICE, STATEFUL_SET, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable

Json = dict[str, Any]

# Fields of spec that the API server refuses to change. The size in volumeClaimTemplates is the business of `growth`.
_FIELDS: Final[dict[Kind, tuple[str, ...]]] = {
    STATEFUL_SET: ("selector", "serviceName", "podManagementPolicy"),
    DAEMON_SET: ("selector",),
    SERVICE: ("clusterIP",),
}


def frozen_differences(kind: Kind, live: Json, desired: Json) -> list[str]:
    """Paths of the fields that differ and cannot be changed: an adopted object of an old installation may have them."""
    if kind is SECRET:
        return _frozen_of_secret(live, desired)
    differing = [f"spec.{field}" for field in _FIELDS.get(kind, ()) if not _same(live["spec"], desired["spec"], field)]
    if kind is STATEFUL_SET and _claim_name(live) != _claim_name(desired):
        differing.append("spec.volumeClaimTemplates")  # of another name: the pods of ours would not find their volume
    return differing


def _frozen_of_secret(live: Json, desired: Json) -> list[str]:
    """One that is immutable may stay while its content is right: somebody's policy may make all of them so."""
    differing = ["type"] if live.get("type") != desired.get("type") else []
    stale = live.get("immutable") and not contains(live.get("data"), desired.get("data"))
    return [*differing, "immutable"] if stale else differing


def _claim_name(stateful_set: Json) -> str | None:
    templates = stateful_set["spec"].get("volumeClaimTemplates") or [{"metadata": {}}]
    name: str | None = templates[0]["metadata"].get("name")
    return name


def _same(live: Json, desired: Json, field: str) -> bool:
    if field == "selector":  # a selector with one more label selects other pods
        return bool(live.get(field) == desired.get(field))
    return contains(live.get(field), desired[field]) if field in desired else live.get(field) != "None"


def without_frozen(kind: Kind, desired: Json) -> Json:
    """What may be sent in a patch."""
    dropped: Iterable[str] = ("volumeClaimTemplates",) if kind is STATEFUL_SET else ()
    if "spec" not in desired:
        return desired
    return {**desired, "spec": {key: value for key, value in desired["spec"].items() if key not in dropped}}
