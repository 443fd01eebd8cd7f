"""Build the Service for the nodes and the headless Service of the cache pods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from common import cache_protocol, names
from common.agent_protocol import CLEANING_ANNOTATION
from controller.desired.object_metadata import with_metadata
from controller.objects.resources import SERVICE

if TYPE_CHECKING:
    from common.types import Json
    from controller.model.mirror import Identity
    from controller.settings import ControllerSettings


PORT: Final = 443  # port of an image name without one


# Fields that expose the cache outside the cluster, or are invalid for a ClusterIP Service.
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


def service(mirror: Identity, settings: ControllerSettings, *, cleaning: bool = False) -> Json:
    """Return the Service of the mirror.

    Session affinity keeps a node at one replica, which saves transfers between the replicas.
    `cleaning` sets the annotation that makes the agents clean their nodes; otherwise the annotation is removed.
    """
    body = {"type": "ClusterIP", "sessionAffinity": "ClientIP", **_common(mirror)}
    order = {CLEANING_ANNOTATION: mirror.uid if cleaning else None}
    return with_metadata(SERVICE, mirror, settings, {"spec": body}, annotations=order)


def headless_service(mirror: Identity, settings: ControllerSettings) -> Json:
    """Return the headless Service of the StatefulSet. It also resolves pods that are not ready."""
    body = {"type": "ClusterIP", "clusterIP": "None", "publishNotReadyAddresses": True, **_common(mirror)}
    return with_metadata(SERVICE, mirror, settings, {"spec": body}, names.headless_name(mirror.name))


def _common(mirror: Identity) -> Json:
    return {
        **_INSIDE_ONLY,
        # A node may have no cache pod.
        "internalTrafficPolicy": "Cluster",
        "selector": names.pod_labels(mirror.name, names.REGISTRY),
        "ports": [{"name": "https", "protocol": "TCP", "port": PORT, "targetPort": cache_protocol.PORT}],
    }
