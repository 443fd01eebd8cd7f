"""Compute the progress of a rollout: a count of ready pods includes pods of the former template. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from common import names
from common.defaults import dict_at

if TYPE_CHECKING:
    from common.types import Json
    from controller.model.mirror import Mirror


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


def is_switching_upstream(obj: Json, mirror: Mirror, stateful_set: Json | None) -> bool:
    """Return True if all ready pods serve the former upstream. The Service does not select them.

    The status names the former upstream until a pod of the new one is ready. A new leader reads it there too.
    """
    former = dict_at(obj, "status").get("upstream")
    is_changed = former is not None and former != mirror.upstream.url
    return is_changed and ready_replicas(stateful_set) > 0 and not rolled_replicas(stateful_set)


def is_unmarked(obj: Json, mirror: Mirror, service: Json | None, stateful_set: Json | None) -> bool:
    """Return True if only cache pods of an earlier version are ready. They lack the label of their upstream.

    The Service selects them until the first labelled pod is ready, so that pulls do not miss the cache.
    """
    if names.UPSTREAM_LABEL in dict_at(service, "spec", "selector") or not ready_replicas(stateful_set):
        return False
    if service is None or dict_at(obj, "status").get("upstream") != mirror.upstream.url:
        return False
    is_labelled = names.UPSTREAM_LABEL in dict_at(stateful_set, "spec", "template", "metadata", "labels")
    return not (is_labelled and rolled_replicas(stateful_set))


def is_rolled_out(stateful_set: Json) -> bool:
    """Return True if all pods have the current template, ready or not."""
    status = dict_at(stateful_set, "status")
    updated, replicas = (int(status.get(key) or 0) for key in ("updatedReplicas", "replicas"))
    return not is_unobserved(stateful_set) and updated == replicas


def is_unobserved(current: Json) -> bool:
    """Return True if the status is not yet that of the spec. A new object reports zero desired pods."""
    return int(dict_at(current, "status").get("observedGeneration") or 0) < int(
        current["metadata"].get("generation") or 0
    )
