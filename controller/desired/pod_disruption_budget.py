"""Build the PodDisruptionBudget: a drain evicts one cache pod at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from common import names
from controller.desired.object_metadata import with_metadata
from controller.objects.resources import BUDGET

if TYPE_CHECKING:
    from controller.model.mirror import Mirror
    from controller.settings import ControllerSettings


def budget(mirror: Mirror, settings: ControllerSettings) -> dict[str, Any]:
    """Return the budget. With minAvailable, a mirror of one replica would block drains."""
    selector = {"matchLabels": names.pod_labels(mirror.name, names.REGISTRY)}
    # Only one of the two may be set; null removes the other.
    spec = {
        "maxUnavailable": 1,
        "minAvailable": None,
        "selector": selector,
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
    }
    return with_metadata(BUDGET, mirror, settings, {"spec": spec})
