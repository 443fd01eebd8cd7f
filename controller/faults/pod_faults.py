"""Read the faults of pods from their status and from Events. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from common.defaults import dict_at
from controller.model.condition import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable

    from common.types import Json

FAULT_MAX: Final = 400  # characters of one fault
# After the grace period a kubelet unmounts volumes. It needs seconds. Clocks of the control plane may differ.
_OVERDUE_AFTER: Final = timedelta(seconds=30)
# Reasons of a waiting container without a cause.
_STARTING: Final = frozenset({"ContainerCreating", "PodInitializing"})


def is_ready(pod: Json, now: datetime) -> bool:
    """Return True if a pod is ready, or being deleted within its grace period."""
    conditions = dict_at(pod, "status").get("conditions") or []
    ready = any((each.get("type"), each.get("status")) == ("Ready", "True") for each in conditions)
    due = pod["metadata"].get("deletionTimestamp")  # the end of the grace period
    return ready or (due is not None and now < datetime.fromisoformat(due) + _OVERDUE_AFTER)


def waits_for_claim(pod: Json) -> bool:
    """Return True for a pod with an unbound claim."""
    return "PersistentVolumeClaim" in (_unscheduled(pod) or "")


def fault_of_pod(pod: Json) -> str:
    """Return the fault in the metadata or status of an unready pod, or an empty string."""
    status = dict_at(pod, "status")
    if due := pod["metadata"].get("deletionTimestamp"):
        return sentence("Terminating", _overdue(due, pod["metadata"].get("finalizers")))
    if status.get("phase") == "Failed" and (status.get("reason") or status.get("message")):
        return sentence(status.get("reason") or "Failed", status.get("message"))
    if (unscheduled := _unscheduled(pod)) is not None:
        return sentence("FailedScheduling", unscheduled)
    # Admission webhooks inject init containers. Those that have succeeded, and sidecars that serve, are ready.
    containers = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    return next((fault for each in containers if not each.get("ready") and (fault := _fault_of_container(each))), "")


def _fault_of_container(container: Json) -> str:
    """Return the fault in the status of an unready container, or an empty string."""
    waiting, ended = (dict_at(container, "state").get(each) for each in ("waiting", "terminated"))
    ended = ended or dict_at(container, "lastState").get("terminated")
    if waiting and waiting.get("reason") in _STARTING:
        return ""
    if ended:
        return _ended((waiting or {}).get("reason") or "Terminated", ended)
    return sentence(waiting.get("reason"), waiting.get("message")) if waiting else ""


def _overdue(due: str, finalizers: list[str] | None) -> str:
    """Return why a pod still exists after its grace period."""
    if finalizers:
        return f"its deletion was due at {due}, and finalizers hold it: {', '.join(finalizers)}."
    return (
        f"its deletion was due at {due}, and the kubelet does not confirm it. If the node is gone, delete the Node, or"
        " delete the pod with --force."
    )


def newest_fault(events: Iterable[Json]) -> str:
    """Return reason and message of the newest Event, or an empty string."""
    newest = max(events, key=_time_of, default=None)
    return "" if newest is None else sentence(newest.get("reason"), newest.get("message"))


def sentence(reason: object, message: object) -> str:
    """Return both as one sentence."""
    text = one_line(f"{reason}: {message}" if message else str(reason), FAULT_MAX)
    return text if text.endswith(".") else f"{text}."


def _unscheduled(pod: Json) -> str | None:
    for each in dict_at(pod, "status").get("conditions") or []:
        if (each.get("type"), each.get("status")) == ("PodScheduled", "False"):
            return str(each.get("message") or each.get("reason"))
    return None


def _ended(waiting: str, ended: Json) -> str:
    """Return how the container ended, with its last words. The kubelet's message of a back-off says nothing."""
    code = f"exit code {ended.get('exitCode')}"
    reason = ended.get("reason")
    how = code if reason in (None, "Error", "Completed") else f"{reason}, {code}"
    words = str(ended.get("message") or "").strip()
    return sentence(waiting, f"{how}: {words}" if words else how)


def _time_of(event: Json) -> str:
    """Return the time of an Event's last occurrence. RFC 3339 in UTC sorts as text."""
    seen = dict_at(event, "series").get("lastObservedTime")
    return str(seen or event.get("lastTimestamp") or event.get("eventTime") or event["metadata"]["creationTimestamp"])
