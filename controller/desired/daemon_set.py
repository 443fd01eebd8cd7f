"""The DaemonSet that points each node at the mirror. Its contract is the seed's mirror-hostess."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from common import names
from controller.desired import files
from controller.desired.frame import EMPTY_IN_CONTAINER, EMPTY_IN_POD, confined, framed, pull_secrets
from controller.kinds import DAEMON_SET

if TYPE_CHECKING:
    from controller.mirror import Mirror
    from controller.settings import ControllerSettings

Json = dict[str, Any]

SERVICE_ACCOUNT: Final = "registrymirror-hostess"
HOSTS_FILE: Final = "/etc/hosts_from_host"
BACKUP_DIRECTORY: Final = "/etc/hosts.backup"
LOCK_DIRECTORY: Final = "/var/lock/hostess"
DOCKER_CERTS: Final = "/etc/docker/certs.d"
AUTHORITY_DIRECTORY: Final = "/etc/registry-mirror"


def daemon_set(mirror: Mirror, settings: ControllerSettings) -> Json:
    """One agent on every Linux node, whatever its taints: each node pulls."""
    selector = names.pod_labels(mirror.name, names.HOSTESS)
    body = {
        "selector": {"matchLabels": selector},
        # All at once: a node keeps its configuration while its agent is replaced.
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "100%"}},
        "template": {"metadata": {"labels": selector}, "spec": _pod(mirror, settings)},
    }
    return framed(DAEMON_SET, mirror, settings, {"spec": body})


def _pod(mirror: Mirror, settings: ControllerSettings) -> Json:
    return {
        **EMPTY_IN_POD,
        "serviceAccountName": SERVICE_ACCOUNT,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 10,
        "imagePullSecrets": pull_secrets(settings),
        "nodeSelector": {"kubernetes.io/os": "linux", **dict(settings.hostess_node_selector)},
        "tolerations": [{"operator": "Exists"}],
        "containers": [_container(mirror, settings)],
        "volumes": [
            # A file that is not there would be made a directory, and the node would lose its hosts file to it.
            _on_host("etc-hosts", "/etc/hosts", "File"),
            _on_host("etc-hosts-backup", "/etc/hosts.backup", "DirectoryOrCreate"),
            _on_host("lock", "/var/lock/mirror-hostess", "DirectoryOrCreate"),
            _on_host("docker-certs", DOCKER_CERTS, "DirectoryOrCreate"),
            _on_host("containerd-certs", settings.containerd_certs_dir, "DirectoryOrCreate"),
            {
                "name": "authority",
                "secret": {
                    "secretName": mirror.object_name,
                    "items": [{"key": files.AUTHORITY, "path": files.AUTHORITY}],
                },
            },
        ],
    }


def _container(mirror: Mirror, settings: ControllerSettings) -> Json:
    values = {
        "SERVICE_NAME": mirror.object_name,
        "SERVICE_NAMESPACE": settings.namespace,
        "SHADOW_FQDN": mirror.masquerade,
        "HOSTS_FILE": HOSTS_FILE,
        "HOSTS_FILE_BACKUP": f"{BACKUP_DIRECTORY}/hosts",
        "LOCK_FILE": f"{LOCK_DIRECTORY}/mirror-hostess",
    }
    return {
        **EMPTY_IN_CONTAINER,
        "args": None,
        "ports": None,
        "livenessProbe": None,
        "readinessProbe": None,
        "name": "mirror-hostess",
        "image": settings.hostess_image,
        "imagePullPolicy": "IfNotPresent",
        "env": [{"name": name, "value": value} for name, value in values.items()],
        "resources": {
            # The original image needs twice what ours does; one limit serves both.
            "requests": {"cpu": "5m", "memory": "32Mi"},
            "limits": {"memory": "128Mi"},
        },
        "securityContext": {
            # Root, as the node's /etc/hosts is root's; nothing else of root's powers.
            "runAsUser": 0,
            **confined(),
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": [
            {"name": "etc-hosts", "mountPath": HOSTS_FILE},
            {"name": "etc-hosts-backup", "mountPath": BACKUP_DIRECTORY},
            {"name": "lock", "mountPath": LOCK_DIRECTORY},
            {"name": "docker-certs", "mountPath": DOCKER_CERTS},
            {"name": "containerd-certs", "mountPath": settings.containerd_certs_dir},
            {"name": "authority", "mountPath": AUTHORITY_DIRECTORY, "readOnly": True},
        ],
    }


def _on_host(name: str, path: str, kind: str) -> Json:
    return {"name": name, "hostPath": {"path": path, "type": kind}}
