"""How far a changed StatefulSet has been rolled: its count of ready pods says nothing of what they run. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from common import names
from common.defaults import dict_at

if TYPE_CHECKING:
    from common.types import Json
    from controller.model.mirror import Mirror


def ready_replicas(stateful_set: Json | None) -> int:
    """Cache pods that can serve, whatever template they are of."""
    return int(dict_at(stateful_set, "status").get("readyReplicas") or 0)


def rolled_replicas(stateful_set: Json | None) -> int:
    """Of those that can serve, how many surely are of the present template.

    Kubernetes does not count them together: of the ready ones, as many may be old as have not been updated.
    """
    status = dict_at(stateful_set, "status")
    if stateful_set is None or is_behind(stateful_set):
        return 0
    if status.get("currentRevision") == status.get("updateRevision"):
        return ready_replicas(stateful_set)
    old = int(status.get("replicas") or 0) - int(status.get("updatedReplicas") or 0)
    return max(0, ready_replicas(stateful_set) - old)


def is_turning(obj: Json, mirror: Mirror, stateful_set: Json | None) -> bool:
    """Whether all that serve still serve a former upstream: the Service does not lead to them any more.

    By the status, which names the former one until a pod of the new one is ready, also when a controller starts anew.
    """
    former = dict_at(obj, "status").get("upstream")
    turned = former is not None and former != mirror.upstream.url
    return turned and ready_replicas(stateful_set) > 0 and not rolled_replicas(stateful_set)


def is_unmarked(obj: Json, mirror: Mirror, service: Json | None, stateful_set: Json | None) -> bool:
    """Whether only cache pods without the label of their upstream can serve, as an older version made them.

    The Service led to them before, and is to do so until the first marked one is ready, or pulls would miss the cache
    meanwhile. Not those of a former upstream.
    """
    if names.UPSTREAM_LABEL in dict_at(service, "spec", "selector") or not ready_replicas(stateful_set):
        return False
    if service is None or dict_at(obj, "status").get("upstream") != mirror.upstream.url:
        return False
    marked = names.UPSTREAM_LABEL in dict_at(stateful_set, "spec", "template", "metadata", "labels")
    return not (marked and rolled_replicas(stateful_set))


def is_rolled_out(stateful_set: Json) -> bool:
    """Whether all of its pods are of the present template, ready or not."""
    status = dict_at(stateful_set, "status")
    updated, all_of_them = (int(status.get(key) or 0) for key in ("updatedReplicas", "replicas"))
    return not is_behind(stateful_set) and updated == all_of_them


def is_behind(current: Json) -> bool:
    """Whether the status of an object is not that of its spec yet: one just made says that it wants no pod at all."""
    return int(dict_at(current, "status").get("observedGeneration") or 0) < int(
        current["metadata"].get("generation") or 0
    )
