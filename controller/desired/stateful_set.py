"""Build the StatefulSet of cache pods, each with its own volume."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Final

from common import cache_protocol, names
from controller.desired import cache_config
from controller.desired.object_metadata import EMPTY_IN_CONTAINER, EMPTY_IN_POD, confined, pull_secrets, with_metadata
from controller.desired.pod_settings import recorded_keys, stored, template_metadata
from controller.objects import well_known
from controller.objects.ownership import owner_reference
from controller.objects.resources import STATEFUL_SET
from controller.objects.well_known import BUNDLE_FILE

if TYPE_CHECKING:
    from common.types import Json
    from controller.model.inputs import Inputs
    from controller.model.mirror import Mirror
    from controller.settings import ControllerSettings


USER: Final = 65532  # as in distroless images; the cache needs no root
GRACE: Final = 30  # seconds; a cache finishes responses in progress for 25, after LEAVE_SECONDS
LEAVE_SECONDS: Final = 3  # a pod that ends accepts connections until nodes no longer route to it
FILE_MODE: Final = 0o440  # the pod's group reads the files of a Secret


def stateful_set(mirror: Mirror, settings: ControllerSettings, inputs: Inputs) -> Json:
    """Return the StatefulSet. Caches follow configuration, certificate and CA bundle without a restart."""
    selector = names.pod_labels(mirror.name, names.REGISTRY)
    body = {
        "replicas": mirror.spec.replicas,
        "ordinals": None,
        "serviceName": names.headless_name(mirror.name),
        # OrderedReady would block the repair of a broken template.
        "podManagementPolicy": "Parallel",
        # The mirror owns the claims; the controller deletes those of removed pods.
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
        "selector": {"matchLabels": selector},
        "template": {
            "metadata": template_metadata(mirror.cache, selector, names.CACHE),
            "spec": _pod(mirror, settings, inputs, selector),
        },
        "volumeClaimTemplates": [_claim(mirror)],
    }
    return with_metadata(STATEFUL_SET, mirror, settings, {"spec": body}, annotations=recorded_keys(mirror.cache))


def _claim(mirror: Mirror) -> Json:
    claim = copy.deepcopy(mirror.claim)
    metadata = claim.get("metadata") or {}
    recommended = names.recommended_labels(mirror.name, names.CACHE)
    labels = {**recommended, **(metadata.get("labels") or {}), **names.labels(mirror.name)}
    owned = {"name": names.CLAIM_TEMPLATE, "labels": labels, "ownerReferences": [owner_reference(mirror)]}
    spec = {"volumeMode": "Filesystem", **claim["spec"]}
    return {"metadata": {**metadata, **owned}, "spec": spec}


def _pod(mirror: Mirror, settings: ControllerSettings, inputs: Inputs, selector: Json) -> Json:
    cache, agent = mirror.cache, mirror.agent
    return {
        **EMPTY_IN_POD,
        # The class of the agents, so that they never take the room of a cache.
        "priorityClassName": cache.priority_class_name or agent.priority_class_name or settings.hostess_priority_class,
        "nodeSelector": dict(cache.node_selector) if cache.node_selector else None,
        "tolerations": list(map(stored, cache.tolerations or [])),
        "affinity": stored(cache.affinity),
        # Both names of the field: the API server copies one to the other.
        "serviceAccountName": None,
        "serviceAccount": None,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE,
        "imagePullSecrets": pull_secrets(settings),
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                # A cluster of one node must get its cache.
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": selector},
            }
        ],
        "containers": [_container(mirror, settings)],
        "volumes": _volumes(mirror, settings, inputs),
    }


def _container(mirror: Mirror, settings: ControllerSettings) -> Json:
    return {
        **EMPTY_IN_CONTAINER,
        "name": "cache",
        "image": settings.cache_image,
        "imagePullPolicy": "IfNotPresent",
        "args": [f"{cache_config.CONFIGURATION_DIRECTORY}/{well_known.CONFIGURATION}"],
        "ports": [
            {"name": "https", "containerPort": cache_protocol.PORT, "protocol": "TCP"},
            {"name": "metrics", "containerPort": cache_protocol.STATUS_PORT, "protocol": "TCP"},
        ],
        "env": _environment(settings),
        "lifecycle": {"preStop": {"sleep": {"seconds": LEAVE_SECONDS}}},
        # The readiness probe runs at once after it, and not up to five seconds later.
        "startupProbe": {**_probe(cache_protocol.READY_PATH), "periodSeconds": 1, "failureThreshold": 300},
        # Neither depends on the upstream or on free space, which a restart does not repair.
        "readinessProbe": {
            **_probe(cache_protocol.READY_PATH),
            "periodSeconds": 5,
            "timeoutSeconds": 3,
            "failureThreshold": 2,
        },
        "livenessProbe": {
            **_probe(cache_protocol.ALIVE_PATH),
            "periodSeconds": 10,
            "timeoutSeconds": 5,
            "failureThreshold": 6,
        },
        # The cache streams; the kernel can reclaim its page cache.
        "resources": stored(mirror.cache.resources)
        or {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}},
        "securityContext": confined(),
        # The condition repeats the last words of a cache that cannot start.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": names.CLAIM_TEMPLATE, "mountPath": cache_config.DATA_DIRECTORY},
            {"name": "configuration", "mountPath": cache_config.CONFIGURATION_DIRECTORY, "readOnly": True},
            {"name": "certificate", "mountPath": cache_config.CERTIFICATE_DIRECTORY, "readOnly": True},
            *(
                [{"name": "ca-bundle", "mountPath": cache_config.BUNDLE_DIRECTORY, "readOnly": True}]
                if settings.ca_certificate_bundle
                else []
            ),
        ],
    }


def _probe(path: str) -> Json:
    return {"httpGet": {"path": path, "port": cache_protocol.STATUS_PORT, "scheme": "HTTP"}}


def _environment(settings: ControllerSettings) -> list[Json]:
    values = {
        "HTTPS_PROXY": settings.https_proxy,
        "HTTP_PROXY": settings.http_proxy,
        "NO_PROXY": settings.no_proxy,
    }
    return [{"name": name, "value": value} for name, value in values.items() if value]


def _volumes(mirror: Mirror, settings: ControllerSettings, inputs: Inputs) -> list[Json]:
    certificate = [{"key": key, "path": key} for key in (well_known.CERTIFICATE, well_known.KEY)]
    tls_secret = inputs.tls.secret or mirror.object_name
    volumes: list[Json] = [
        {"name": "configuration", "secret": {"secretName": mirror.object_name, "defaultMode": FILE_MODE}},
        {
            "name": "certificate",
            "secret": {"secretName": tls_secret, "items": certificate, "defaultMode": FILE_MODE},
        },
    ]
    if settings.ca_certificate_bundle:
        items = [{"key": BUNDLE_FILE, "path": BUNDLE_FILE}]
        volumes.append({"name": "ca-bundle", "configMap": {"name": settings.ca_certificate_bundle, "items": items}})
    return volumes
