"""The Service that nodes pull from, and the headless one that gives the cache pods their names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from common import names
from common.agent_protocol import CLEANING_ANNOTATION
from controller.desired.object_metadata import with_metadata
from controller.model.mirror import Mirror
from controller.objects.resources import SERVICE

if TYPE_CHECKING:
    from common.types import Json
    from controller.model.mirror import Identity
    from controller.settings import ControllerSettings


PORT: Final = 443  # what an image name without a port means
TARGET_PORT: Final = 5000  # the registry's own; above 1024, so that no capability is needed


# Fields that lead traffic from elsewhere to the cache, or that may not stand in a Service of our type.
_INSIDE_ONLY: Final = dict.fromkeys(
    (
        "externalIPs",
        "externalName",
        "externalTrafficPolicy",
        "healthCheckNodePort",
        "loadBalancerClass",
        "loadBalancerIP",
        "loadBalancerSourceRanges",
        "allocateLoadBalancerNodePorts",
    )
)


def service(mirror: Identity, settings: ControllerSettings, *, cleaning: bool = False, unmarked: bool = False) -> Json:
    """The Service of the mirror.

    A node stays with one replica (session affinity), so that the layers of one image come from one cache: each has
    a volume of its own, and going round would fetch each blob once a replica. `cleaning` tells the agents to take the
    mirror off their nodes; without it such an order, of an earlier mirror of this name, is taken out.

    Turned to another upstream, the mirror is without endpoints until a first pod of the new one is ready: those that
    have yet to be rolled would answer for the new one with what the former gave. `unmarked`: not yet, see is_unmarked.
    """
    body = {"type": "ClusterIP", "sessionAffinity": "ClientIP", **_common(mirror)}
    if isinstance(mirror, Mirror) and not unmarked:
        body["selector"] = {**body["selector"], names.UPSTREAM_LABEL: mirror.upstream.directory}
    order = {CLEANING_ANNOTATION: mirror.uid if cleaning else None}
    return with_metadata(SERVICE, mirror, settings, {"spec": body}, annotations=order)


def headless_service(mirror: Identity, settings: ControllerSettings) -> Json:
    """The Service that governs the StatefulSet; it names pods that are not ready too, as they start."""
    body = {"type": "ClusterIP", "clusterIP": "None", "publishNotReadyAddresses": True, **_common(mirror)}
    return with_metadata(SERVICE, mirror, settings, {"spec": body}, names.headless_name(mirror.name))


def _common(mirror: Identity) -> Json:
    return {
        **_INSIDE_ONLY,
        # A node may have no cache pod of its own.
        "internalTrafficPolicy": "Cluster",
        "selector": names.pod_labels(mirror.name, names.REGISTRY),
        "ports": [{"name": "https", "protocol": "TCP", "port": PORT, "targetPort": TARGET_PORT}],
    }
