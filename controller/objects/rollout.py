"""Compute the progress of a rollout: a count of ready pods includes pods of the former template. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.defaults import dict_at

if TYPE_CHECKING:
    from common.types import Json


def ready_replicas(stateful_set: Json | None) -> int:
    """Return the number of ready cache pods of any template."""
    return int(dict_at(stateful_set, "status").get("readyReplicas") or 0)


def rolled_replicas(stateful_set: Json | None) -> int:
    """Return the least number of ready cache pods with the current template.

    Kubernetes does not count them: all pods that are not updated may be among the ready ones.
    """
    status = dict_at(stateful_set, "status")
    if stateful_set is None or is_unobserved(stateful_set):
        return 0
    if status.get("currentRevision") == status.get("updateRevision"):
        return ready_replicas(stateful_set)
    old = int(status.get("replicas") or 0) - int(status.get("updatedReplicas") or 0)
    return max(0, ready_replicas(stateful_set) - old)


def is_unobserved(current: Json) -> bool:
    """Return True if the status is not yet that of the spec. A new object reports zero desired pods."""
    return int(dict_at(current, "status").get("observedGeneration") or 0) < int(
        current["metadata"].get("generation") or 0
    )
