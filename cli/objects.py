"""Name the objects of the system, and read what their JSON contains."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cli.kubectl import Json

MIRRORS: Final = "registrymirrors.k8s.osp.tech"
MIRROR_LABEL: Final = "mirror"
COMPONENT_LABEL: Final = "component"
OBJECTS: Final = "app=docker-registry"
CACHE: Final = "registry"
AGENT: Final = "hostess-certificate"
PREFIX: Final = "registry-mirror-"
CONTROLLER: Final = "registrymirror-controller"
WEBHOOK: Final = "registrymirror-webhook"
DIALER: Final = "registrymirror-dialer"
# Label and value of the system's own objects.
NAME_LABEL: Final = "app.kubernetes.io/name"
EVENT_NAMESPACE: Final = "default"

# Seconds of each unit, the largest first, and the number below which the next smaller unit is shown.
_UNITS: Final = (("d", 86400, 2), ("h", 3600, 3), ("m", 60, 2), ("s", 1, 0))


def at(document: Any, *path: str | int, default: Any = None) -> Any:
    """Return what stands at a path; the default if a part of the path is missing."""
    for step in path:
        try:
            document = document[step]
        except (KeyError, IndexError, TypeError):
            return default
    return default if document is None else document


def name_of(obj: Json) -> str:
    """Return the name of an object."""
    return str(at(obj, "metadata", "name", default=""))


def label(obj: Json, key: str) -> str:
    """Return a label of an object; empty without it."""
    return str(at(obj, "metadata", "labels", key, default=""))


def selector(mirror: str, component: str = "") -> str:
    """Return the label selector of the objects of a mirror, or of the pods of one component."""
    return f"{OBJECTS},{MIRROR_LABEL}={mirror}" + (f",{COMPONENT_LABEL}={component}" if component else "")


def condition(obj: Json, kind: str) -> Json:
    """Return a condition of an object; empty if it has none of this type."""
    found = (each for each in at(obj, "status", "conditions", default=()) if each.get("type") == kind)
    return dict(next(found, {}))


def is_ready(pod: Json) -> bool:
    """Return True if a pod is ready."""
    return condition(pod, "Ready").get("status") == "True"


def seconds_since(stamp: str, now: datetime) -> float:
    """Return the seconds since a time stamp of the API; 0 for another text."""
    try:
        return max(0.0, (now - datetime.fromisoformat(stamp)).total_seconds())
    except (TypeError, ValueError):
        return 0.0


def age(seconds: float) -> str:
    """Return a duration as kubectl prints ages: two digits are enough."""
    for unit, size, least in _UNITS:
        if seconds >= size * least:
            return f"{int(seconds // size)}{unit}"
    return "0s"


def age_of(obj: Json, now: datetime) -> str:
    """Return the age of an object."""
    return age(seconds_since(at(obj, "metadata", "creationTimestamp", default=""), now))


def current_time() -> datetime:
    """Return the time of this machine's clock."""
    return datetime.now(UTC)


def restarts(pod: Json) -> int:
    """Return how often the containers of a pod were restarted."""
    return sum(int(each.get("restartCount", 0)) for each in at(pod, "status", "containerStatuses", default=()))


def waiting_reason(pod: Json) -> tuple[str, str]:
    """Return reason and message of what keeps a pod from running; empty if nothing does."""
    for each in (
        *at(pod, "status", "initContainerStatuses", default=()),
        *at(pod, "status", "containerStatuses", default=()),
    ):
        waiting = at(each, "state", "waiting", default={})
        if waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
            ended = at(each, "lastState", "terminated", default={})
            last = f" The last run ended with {ended['reason']}." if ended.get("reason") else ""
            return str(waiting["reason"]), str(waiting.get("message", "")) + last
    scheduled = condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        return str(scheduled.get("reason", "Unschedulable")), str(scheduled.get("message", ""))
    return "", ""


def of_mirror(objects: Iterable[Json], mirror: str) -> list[Json]:
    """Return the objects of a mirror."""
    return [each for each in objects if label(each, MIRROR_LABEL) == mirror]
