"""Build the StatefulSet of cache pods: the distribution registry, each pod with its own volume."""

from __future__ import annotations

import copy
import hashlib
from typing import TYPE_CHECKING, Final

from common import names
from controller.desired import registry_config
from controller.desired.object_metadata import EMPTY_IN_CONTAINER, EMPTY_IN_POD, confined, pull_secrets, with_metadata
from controller.desired.services import TARGET_PORT
from controller.objects import well_known
from controller.objects.ownership import owner_reference
from controller.objects.resources import STATEFUL_SET
from controller.objects.well_known import BUNDLE_FILE, CONFIGURATION_ANNOTATION

if TYPE_CHECKING:
    from common.types import Json
    from controller.model.inputs import Inputs, KeyPair
    from controller.model.mirror import Mirror
    from controller.settings import ControllerSettings


USER: Final = 65532  # as in distroless images; the registry needs no root
GRACE: Final = registry_config.DRAIN + 5  # seconds; five to save the state of the cache after the last pull
BUNDLE_DIRECTORY: Final = "/etc/registry-mirror-ca"
# Go reads all these folders.
SSL_CERT_DIR: Final = f"/etc/ssl/certs:{BUNDLE_DIRECTORY}"


def stateful_set(mirror: Mirror, settings: ControllerSettings, inputs: Inputs) -> Json:
    """Return the StatefulSet. A change of configuration, certificate or CA bundle restarts its pods one by one."""
    selector = names.pod_labels(mirror.name, names.REGISTRY)
    digest = configuration_digest(mirror, inputs.tls.pair, inputs.bundle)
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
            "metadata": {
                "labels": {**selector, names.UPSTREAM_LABEL: mirror.upstream.directory},
                "annotations": {CONFIGURATION_ANNOTATION: digest},
            },
            "spec": _pod(mirror, settings, inputs, selector),
        },
        "volumeClaimTemplates": [_claim(mirror)],
    }
    return with_metadata(STATEFUL_SET, mirror, settings, {"spec": body})


def configuration_digest(mirror: Mirror, pair: KeyPair, bundle: str | None) -> str:
    """Return a digest of everything that a cache pod reads at its start. A new digest restarts the pods."""
    read = (
        registry_config.configuration(mirror),
        registry_config.helper(),
        registry_config.start_script(mirror),
        pair.certificate,
        pair.key,
    )
    return hashlib.sha256("\0".join((*read, bundle or "")).encode()).hexdigest()[:32]


def _claim(mirror: Mirror) -> Json:
    claim = copy.deepcopy(mirror.claim)
    metadata = claim.get("metadata") or {}
    labels = {**(metadata.get("labels") or {}), **names.labels(mirror.name)}
    owned = {"name": names.CLAIM_TEMPLATE, "labels": labels, "ownerReferences": [owner_reference(mirror)]}
    spec = {"volumeMode": "Filesystem", **claim["spec"]}
    return {"metadata": {**metadata, **owned}, "spec": spec}


def _pod(mirror: Mirror, settings: ControllerSettings, inputs: Inputs, selector: Json) -> Json:
    return {
        **EMPTY_IN_POD,
        # Both names of the field: the API server copies one to the other.
        "serviceAccountName": None,
        "serviceAccount": None,
        "automountServiceAccountToken": False,
        # The registry would read variables such as REGISTRY_PORT as configuration.
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
        "containers": [_container(settings)],
        "volumes": _volumes(mirror, settings, inputs),
    }


def _container(settings: ControllerSettings) -> Json:
    return {
        **EMPTY_IN_CONTAINER,
        "name": "registry",
        "image": settings.registry_image,
        "imagePullPolicy": "IfNotPresent",
        # The script prepares the volume, then executes the registry, which receives SIGTERM.
        "command": ["/bin/sh", f"{registry_config.CONFIGURATION_DIRECTORY}/{well_known.START}"],
        "args": None,
        "ports": [
            {"name": "https", "containerPort": TARGET_PORT, "protocol": "TCP"},
            {"name": "metrics", "containerPort": registry_config.DEBUG_PORT, "protocol": "TCP"},
        ],
        "env": _environment(settings),
        # The state file of a large volume may have to be rebuilt first.
        "startupProbe": {"tcpSocket": {"port": TARGET_PORT}, "periodSeconds": 1, "failureThreshold": 900},
        # Answers 503 while less than 5 % of the volume is free (entrypoint.py).
        "readinessProbe": {
            "httpGet": {"path": "/v2/", "port": TARGET_PORT, "scheme": "HTTPS"},
            "periodSeconds": 5,
            "timeoutSeconds": 3,
            "failureThreshold": 2,
        },
        # Independent of upstream and disk, which a restart does not repair. At the debug port: at the other
        # one, each connection without a handshake is logged.
        "livenessProbe": {
            "tcpSocket": {"port": registry_config.DEBUG_PORT},
            "periodSeconds": 10,
            "failureThreshold": 6,
        },
        "resources": {
            # The cache streams; the kernel can reclaim its page cache.
            "requests": {"cpu": "50m", "memory": "64Mi"},
            "limits": {"memory": "512Mi"},
        },
        "securityContext": confined(),
        "volumeMounts": [
            {"name": names.CLAIM_TEMPLATE, "mountPath": registry_config.DATA_DIRECTORY},
            {"name": "configuration", "mountPath": registry_config.CONFIGURATION_DIRECTORY, "readOnly": True},
            {"name": "certificate", "mountPath": registry_config.CERTIFICATE_DIRECTORY, "readOnly": True},
            {"name": "marks", "mountPath": registry_config.MARKS_DIRECTORY},
            *(
                [{"name": "ca-bundle", "mountPath": BUNDLE_DIRECTORY, "readOnly": True}]
                if _has_bundle(settings)
                else []
            ),
        ],
    }


def _environment(settings: ControllerSettings) -> list[Json]:
    values = {
        # Without it the registry logs a failed export of traces every few seconds.
        "OTEL_TRACES_EXPORTER": "none",
        "SSL_CERT_DIR": SSL_CERT_DIR if _has_bundle(settings) else "",
        "HTTPS_PROXY": settings.https_proxy,
        "HTTP_PROXY": settings.http_proxy,
        "NO_PROXY": settings.no_proxy,
    }
    return [{"name": name, "value": value} for name, value in values.items() if value]


def _has_bundle(settings: ControllerSettings) -> bool:
    return settings.ca_certificate_bundle is not None


def _volumes(mirror: Mirror, settings: ControllerSettings, inputs: Inputs) -> list[Json]:
    configuration = [
        {"key": well_known.CONFIGURATION, "path": well_known.CONFIGURATION, "mode": 0o440},
        {"key": well_known.CREDENTIALS, "path": well_known.CREDENTIALS, "mode": 0o440},
        {"key": well_known.HELPER, "path": well_known.HELPER, "mode": 0o550},
        {"key": well_known.START, "path": well_known.START, "mode": 0o440},
    ]
    certificate = [{"key": key, "path": key, "mode": 0o440} for key in (well_known.CERTIFICATE, well_known.KEY)]
    volumes: list[Json] = [
        {"name": "configuration", "secret": {"secretName": mirror.object_name, "items": configuration}},
        {
            "name": "certificate",
            "secret": {"secretName": inputs.tls.secret or mirror.object_name, "items": certificate},
        },
        # In memory: it must be writable while the disk is full.
        {"name": "marks", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
    ]
    if _has_bundle(settings):
        items = [{"key": BUNDLE_FILE, "path": BUNDLE_FILE}]
        volumes.append({"name": "ca-bundle", "configMap": {"name": settings.ca_certificate_bundle, "items": items}})
    return volumes
