"""Build the Service for the nodes and the headless Service of the cache pods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from common import cache_protocol, names
from common.agent_protocol import CLEANING_ANNOTATION
from controller.desired.object_metadata import with_metadata
from controller.desired.pod_settings import recorded_keys
from controller.objects.resources import SERVICE

if TYPE_CHECKING:
    from common.types import Json
    from controller.model.mirror import Identity, Mirror
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


def service(mirror: Mirror, settings: ControllerSettings, *, cleaning: bool = False) -> Json:
    """Return the Service of the mirror.

    `cleaning` sets the annotation that makes the agents clean their nodes; otherwise the annotation is removed.
    """
    cache = mirror.cache
    body = {**_spec(mirror), "trafficDistribution": cache.traffic_distribution}
    order = {CLEANING_ANNOTATION: mirror.uid if cleaning else None}
    annotations = {**(cache.annotations or {}), **recorded_keys(cache), **order}
    found = with_metadata(SERVICE, mirror, settings, {"spec": body}, annotations=annotations)
    labels = found["metadata"]["labels"]
    found["metadata"]["labels"] = {**labels, **(cache.labels or {}), **names.labels(mirror.name)}
    return found


def cleaning_service(mirror: Identity, settings: ControllerSettings) -> Json:
    """Return the Service of a mirror that is being deleted. The spec of that mirror may be invalid."""
    order = {CLEANING_ANNOTATION: mirror.uid}
    return with_metadata(SERVICE, mirror, settings, {"spec": _spec(mirror)}, annotations=order)


def _spec(mirror: Identity) -> Json:
    # Session affinity keeps a node at one replica, which saves transfers between the replicas.
    return {"type": "ClusterIP", "sessionAffinity": "ClientIP", **_common(mirror)}


def headless_service(mirror: Identity, settings: ControllerSettings) -> Json:
    """Return the headless Service of the StatefulSet. It also resolves pods that are not ready."""
    body = {"type": "ClusterIP", "clusterIP": "None", "publishNotReadyAddresses": True, **_common(mirror)}
    return with_metadata(SERVICE, mirror, settings, {"spec": body}, names.headless_name(mirror.name))


def _common(mirror: Identity) -> Json:
    return {
        **_INSIDE_ONLY,
        # Kubernetes adds the second family of a dual-stack cluster, and ignores it in others.
        "ipFamilyPolicy": "PreferDualStack",
        # A node may have no cache pod.
        "internalTrafficPolicy": "Cluster",
        "selector": names.pod_labels(mirror.name, names.REGISTRY),
        "ports": [{"name": "https", "protocol": "TCP", "port": PORT, "targetPort": cache_protocol.PORT}],
    }
