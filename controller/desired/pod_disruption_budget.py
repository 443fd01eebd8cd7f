"""The disruption budget: a drain takes one cache pod at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from common import names
from controller.desired.object_metadata import with_metadata
from controller.objects.resources import BUDGET

if TYPE_CHECKING:
    from controller.model.mirror import Mirror
    from controller.settings import ControllerSettings


def budget(mirror: Mirror, settings: ControllerSettings) -> dict[str, Any]:
    """At most one pod down, rather than at least one up: a mirror of one replica must not block a drain for ever."""
    selector = {"matchLabels": names.pod_labels(mirror.name, names.REGISTRY)}
    # Only one of the two may be set: what somebody puts into the other has to go with it.
    spec = {
        "maxUnavailable": 1,
        "minAvailable": None,
        "selector": selector,
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
    }
    return with_metadata(BUDGET, mirror, settings, {"spec": spec})
