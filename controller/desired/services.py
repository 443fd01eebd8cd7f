"""Build the Service for the nodes and the headless Service of the cache pods."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from common import cache_protocol, names
from common.agent_protocol import CLEANING_ANNOTATION, REGISTRIES_ANNOTATION
from controller.desired.object_metadata import with_metadata
from controller.desired.pod_settings import recorded_keys
from controller.objects.resources import SERVICE

if TYPE_CHECKING:
    from common.types import Json
    from controller.model.inputs import Inputs
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


def service(mirror: Mirror, settings: ControllerSettings, inputs: Inputs) -> Json:
    """Return the Service of the mirror. Its annotations tell the agents what to configure, or to clean their nodes."""
    cache = mirror.cache
    body = {**_spec(mirror), "trafficDistribution": cache.traffic_distribution}
    orders = {
        CLEANING_ANNOTATION: mirror.uid if inputs.masquerade_holder is not None else None,
        REGISTRIES_ANNOTATION: _registries(mirror, settings, inputs),
    }
    annotations = {**(cache.annotations or {}), **recorded_keys(cache), **orders}
    found = with_metadata(SERVICE, mirror, settings, {"spec": body}, annotations=annotations)
    labels = found["metadata"]["labels"]
    found["metadata"]["labels"] = {**labels, **(cache.labels or {}), **names.labels(mirror.name)}
    return found


def _registries(mirror: Mirror, settings: ControllerSettings, inputs: Inputs) -> str:
    """Return the registries for the nodes. Those of an older mirror have no host.

    Neither has any beside the original agent, which writes no hosts.toml.
    """
    upstreams = [source.upstream for source in mirror.sources]
    elsewhere = (
        {each.image_host for each in upstreams} if settings.hostess_is_original else inputs.images_holders.keys()
    )
    found = [{"host": "" if each.image_host in elsewhere else each.image_host, "url": each.url} for each in upstreams]
    return json.dumps(found, separators=(",", ":"))


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
