"""The StatefulSet of cache pods: the distribution registry, each pod with a volume of its own."""

from __future__ import annotations

import copy
import hashlib
from typing import TYPE_CHECKING, Any, Final

from common import names
from controller.desired import files
from controller.desired.frame import (
    CONFIGURATION_ANNOTATION,
    EMPTY_IN_CONTAINER,
    EMPTY_IN_POD,
    confined,
    framed,
    pull_secrets,
)
from controller.desired.services import TARGET_PORT
from controller.kinds import STATEFUL_SET

if TYPE_CHECKING:
    from controller.certificates import Pair
    from controller.facts import Facts
    from controller.mirror import Mirror
    from controller.settings import ControllerSettings

Json = dict[str, Any]

USER: Final = 65532  # nobody's in particular, as in the distroless images; the registry needs no root
GRACE: Final = files.DRAIN + 5  # seconds; the five are for saving the cache's state after the last pull
BUNDLE_DIRECTORY: Final = "/etc/registry-mirror-ca"
BUNDLE_FILE: Final = "ca-certificates.crt"  # the seed's key in CA_CERTIFICATE_BUNDLE
# The system's folder first: Go reads every folder of this list beside the system's own file.
SSL_CERT_DIR: Final = f"/etc/ssl/certs:{BUNDLE_DIRECTORY}"


def stateful_set(mirror: Mirror, settings: ControllerSettings, facts: Facts) -> Json:
    """The cache. A change of configuration, certificate or CA bundle rolls its pods one at a time."""
    selector = names.pod_labels(mirror.name, names.REGISTRY)
    digest = configuration_digest(mirror, facts.tls.pair, facts.bundle)
    body = {
        "replicas": mirror.spec.replicas,
        "ordinals": None,
        "serviceName": names.headless_name(mirror.name),
        # OrderedReady would wait for ever for a pod that a repaired template could mend.
        "podManagementPolicy": "Parallel",
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete", "whenScaled": "Delete"},
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
        "selector": {"matchLabels": selector},
        "template": {
            "metadata": {
                "labels": {**selector, names.UPSTREAM_LABEL: mirror.upstream.directory},
                "annotations": {CONFIGURATION_ANNOTATION: digest},
            },
            "spec": _pod(mirror, settings, facts, selector),
        },
        "volumeClaimTemplates": [_claim(mirror)],
    }
    return framed(STATEFUL_SET, mirror, settings, {"spec": body})


def configuration_digest(mirror: Mirror, pair: Pair, bundle: str | None) -> str:
    """Fingerprint of all that a cache pod reads once, at its start: what changes it must restart the pods."""
    read = (files.configuration(mirror), files.helper(), files.start_script(mirror), pair.certificate, pair.key)
    return hashlib.sha256("\0".join((*read, bundle or "")).encode()).hexdigest()[:32]


def _claim(mirror: Mirror) -> Json:
    claim = copy.deepcopy(mirror.claim)
    metadata = claim.get("metadata") or {}
    labels = {**(metadata.get("labels") or {}), **names.labels(mirror.name)}
    spec = {"volumeMode": "Filesystem", **claim["spec"]}
    return {"metadata": {**metadata, "name": names.CLAIM_TEMPLATE, "labels": labels}, "spec": spec}


def _pod(mirror: Mirror, settings: ControllerSettings, facts: Facts, selector: Json) -> Json:
    return {
        **EMPTY_IN_POD,
        # Both names of the field: the API server copies one to the other.
        "serviceAccountName": None,
        "serviceAccount": None,
        "automountServiceAccountToken": False,
        # Variables like REGISTRY_PORT, made from Services of such names, would be read as configuration.
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
                # A cluster of one node still gets its cache.
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": selector},
            }
        ],
        "containers": [_container(settings)],
        "volumes": _volumes(mirror, settings, facts),
    }


def _container(settings: ControllerSettings) -> Json:
    return {
        **EMPTY_IN_CONTAINER,
        "name": "registry",
        "image": settings.registry_image,
        "imagePullPolicy": "IfNotPresent",
        # A shell that readies the volume and becomes the registry, which so is the first process and gets SIGTERM.
        "command": ["/bin/sh", f"{files.CONFIGURATION_DIRECTORY}/{files.START}"],
        "args": None,
        "ports": [
            {"name": "https", "containerPort": TARGET_PORT, "protocol": "TCP"},
            {"name": "metrics", "containerPort": files.DEBUG_PORT, "protocol": "TCP"},
        ],
        "env": _environment(settings),
        # The books of a large volume may have to be made anew first; only then the other probes begin.
        "startupProbe": {"tcpSocket": {"port": TARGET_PORT}, "periodSeconds": 1, "failureThreshold": 900},
        # Answers 503 while less than 5 % of the volume is free (start.py).
        "readinessProbe": {
            "httpGet": {"path": "/v2/", "port": TARGET_PORT, "scheme": "HTTPS"},
            "periodSeconds": 5,
            "timeoutSeconds": 3,
            "failureThreshold": 2,
        },
        # Knows nothing of upstream or disk: a restart mends neither. At the debug port, since at the other one each
        # connection without a handshake is a line in the log.
        "livenessProbe": {"tcpSocket": {"port": files.DEBUG_PORT}, "periodSeconds": 10, "failureThreshold": 6},
        "resources": {
            # A cache streams; what it holds in memory is the page cache, which the limit lets the kernel take back.
            "requests": {"cpu": "50m", "memory": "64Mi"},
            "limits": {"memory": "512Mi"},
        },
        "securityContext": confined(),
        "volumeMounts": [
            {"name": names.CLAIM_TEMPLATE, "mountPath": files.DATA_DIRECTORY},
            {"name": "configuration", "mountPath": files.CONFIGURATION_DIRECTORY, "readOnly": True},
            {"name": "certificate", "mountPath": files.CERTIFICATE_DIRECTORY, "readOnly": True},
            {"name": "marks", "mountPath": files.MARKS_DIRECTORY},
            *(
                [{"name": "ca-bundle", "mountPath": BUNDLE_DIRECTORY, "readOnly": True}]
                if _has_bundle(settings)
                else []
            ),
        ],
    }


def _environment(settings: ControllerSettings) -> list[Json]:
    values = {
        # The bare binary would log a failed export of traces every few seconds.
        "OTEL_TRACES_EXPORTER": "none",
        "SSL_CERT_DIR": SSL_CERT_DIR if _has_bundle(settings) else "",
        "HTTPS_PROXY": settings.https_proxy,
        "HTTP_PROXY": settings.http_proxy,
        "NO_PROXY": settings.no_proxy,
    }
    return [{"name": name, "value": value} for name, value in values.items() if value]


def _has_bundle(settings: ControllerSettings) -> bool:
    return settings.ca_certificate_bundle is not None


def _volumes(mirror: Mirror, settings: ControllerSettings, facts: Facts) -> list[Json]:
    configuration = [
        {"key": files.CONFIGURATION, "path": files.CONFIGURATION, "mode": 0o440},
        {"key": files.CREDENTIALS, "path": files.CREDENTIALS, "mode": 0o440},
        {"key": files.HELPER, "path": files.HELPER, "mode": 0o550},
        {"key": files.START, "path": files.START, "mode": 0o440},
    ]
    certificate = [{"key": key, "path": key, "mode": 0o440} for key in (files.CERTIFICATE, files.KEY)]
    volumes: list[Json] = [
        {"name": "configuration", "secret": {"secretName": mirror.object_name, "items": configuration}},
        {
            "name": "certificate",
            "secret": {"secretName": facts.tls.secret or mirror.object_name, "items": certificate},
        },
        # In memory: it must be writable above all while the disk is full.
        {"name": "marks", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
    ]
    if _has_bundle(settings):
        items = [{"key": BUNDLE_FILE, "path": BUNDLE_FILE}]
        volumes.append({"name": "ca-bundle", "configMap": {"name": settings.ca_certificate_bundle, "items": items}})
    return volumes
