"""Build the DaemonSet of node agents. Its contract is that of the original mirror-hostess."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from common import names
from common.agent_protocol import ALIVE_PATH, DIALER_SOCKET, STATUS_PATH, STATUS_PORT
from common.defaults import dict_at
from controller.desired.agent_nodes import agent_affinity
from controller.desired.object_metadata import EMPTY_IN_CONTAINER, EMPTY_IN_POD, confined, pull_secrets, with_metadata
from controller.desired.pod_settings import recorded_keys, stored, template_metadata
from controller.objects import well_known
from controller.objects.resources import DAEMON_SET

if TYPE_CHECKING:
    from common.types import Json
    from controller.model.mirror import Mirror
    from controller.settings import ControllerSettings


SERVICE_ACCOUNT: Final = "registrymirror-hostess"
HOSTS_FILE: Final = "/etc/hosts_from_host"
BACKUP_DIRECTORY: Final = "/etc/hosts.backup"
LOCK_DIRECTORY: Final = "/var/lock/hostess"
DOCKER_DIRECTORY: Final = "/etc/docker"
CONTAINERS_DIRECTORY: Final = "/etc/containers"  # of podman and CRI-O
# Beside its drop-ins is the policy of signatures, so the agent writes below it only.
READ_ONLY: Final = "containers"
CA_DIRECTORY: Final = "/etc/registry-mirror"
# The container beside the original agent, by its name in mirror-operator.
CERTIFICATE_INSTALLATION: Final = "certificate-installation"


def daemon_set(mirror: Mirror, settings: ControllerSettings) -> Json:
    """Return the DaemonSet: one agent on every Linux node that is a machine, with all taints tolerated."""
    selector = names.pod_labels(mirror.name, names.HOSTESS)
    # All at once: a node keeps its configuration while its agent is replaced. The original removes its hosts entry at
    # each end, so one node after the other, as in mirror-operator.
    unavailable, ready_seconds = (1, 10) if settings.hostess_is_original else ("100%", None)
    body = {
        "selector": {"matchLabels": selector},
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": unavailable}},
        "minReadySeconds": ready_seconds,
        "template": {
            "metadata": template_metadata(mirror.agent, selector, names.AGENT),
            "spec": _pod(mirror, settings),
        },
    }
    return with_metadata(DAEMON_SET, mirror, settings, {"spec": body}, annotations=recorded_keys(mirror.agent))


def runs_original(daemon_set: Json) -> bool:
    """Return True if the agents of a DaemonSet are the original mirror-hostess."""
    containers = dict_at(daemon_set, "spec", "template", "spec").get("containers") or []
    return any(each.get("name") == CERTIFICATE_INSTALLATION for each in containers)


def _pod(mirror: Mirror, settings: ControllerSettings) -> Json:
    return {
        **EMPTY_IN_POD,
        # A node without its agent keeps using a dead mirror, so the agent must not be evicted.
        "priorityClassName": mirror.agent.priority_class_name or settings.hostess_priority_class,
        "serviceAccountName": SERVICE_ACCOUNT,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 10,
        "imagePullSecrets": pull_secrets(settings),
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "affinity": agent_affinity(settings.hostess_node_selector),
        "tolerations": [{"operator": "Exists"}],
        "containers": _containers(mirror, settings),
        "volumes": [
            # With DirectoryOrCreate, a missing /etc/hosts would become a directory.
            _on_host("etc-hosts", "/etc/hosts", "File"),
            # Not /etc/hosts.backup, which may be a copy of an administrator: a file would keep the pod from starting.
            _on_host("etc-hosts-backup", "/etc/mirror-hostess", "DirectoryOrCreate"),
            _on_host("lock", "/var/lock/mirror-hostess", "DirectoryOrCreate"),
            *(_on_host(name, path, "DirectoryOrCreate") for name, path in _directories(settings).items()),
            {
                "name": "ca",
                "secret": {
                    "secretName": mirror.object_name,
                    "items": [{"key": well_known.CA, "path": well_known.CA}],
                },
            },
        ],
    }


def _directories(settings: ControllerSettings) -> dict[str, str]:
    """Return the node folders to mount, each at its own path, by volume name.

    The agent needs the folder above certs.d: it reads config.toml there, and creates the literal path that
    containerd 2.2 reads.
    """
    above = str(PurePosixPath(settings.containerd_certs_dir).parent)
    return {
        "docker": DOCKER_DIRECTORY,
        **({} if above == DOCKER_DIRECTORY else {"containerd": above}),
        "containers": CONTAINERS_DIRECTORY,
        "drop-ins": f"{CONTAINERS_DIRECTORY}/registries.conf.d",
    }


def _variables_of_original(mirror: Mirror, settings: ControllerSettings) -> list[Json]:
    """Return the variables that the original mirror-hostess reads, and the project's agent too."""
    values = {
        "SERVICE_NAME": mirror.object_name,
        "SERVICE_NAMESPACE": settings.namespace,
        "SHADOW_FQDN": mirror.masquerade,
        "HOSTS_FILE": HOSTS_FILE,
        "HOSTS_FILE_BACKUP": f"{BACKUP_DIRECTORY}/hosts",
        "LOCK_FILE": f"{LOCK_DIRECTORY}/mirror-hostess",
    }
    return [{"name": name, "value": value} for name, value in values.items()]


def _mounts_of_original() -> list[Json]:
    return [
        {"name": "etc-hosts", "mountPath": HOSTS_FILE},
        {"name": "etc-hosts-backup", "mountPath": BACKUP_DIRECTORY},
        {"name": "lock", "mountPath": LOCK_DIRECTORY},
    ]


def _resources(memory: str) -> Json:
    # The limit is for a hosts file of 6 MB.
    return {"requests": {"cpu": "5m", "memory": memory}, "limits": {"memory": "128Mi"}}


def _environment(mirror: Mirror, settings: ControllerSettings) -> list[Json]:
    # The agent reads the upstreams from the Service: a variable would replace the agents of all nodes at each change.
    values = {
        "CA_FILE": f"{CA_DIRECTORY}/{well_known.CA}",
        "DOCKER_CERTS_DIR": f"{DOCKER_DIRECTORY}/certs.d",
        "CONTAINERD_CERTS_DIR": settings.containerd_certs_dir,
        "STATUS_PORT": str(STATUS_PORT),
        # As in deploy/dialer.yaml. Each installation on a node has a dialer of its own.
        DIALER_SOCKET: f"{LOCK_DIRECTORY}/{settings.namespace}.dialer",
    }
    node = {"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}
    own = [{"name": name, "value": value} for name, value in values.items()]
    return [*_variables_of_original(mirror, settings), *own, node]


def _probes() -> Json:
    # Fast, since the agent itself waits before it reports an error.
    ready = {
        "httpGet": {"path": STATUS_PATH, "port": "status"},
        "periodSeconds": 2,
        "timeoutSeconds": 2,
        "failureThreshold": 1,
    }
    # A fallback: the agent reports that it is stuck after a minute.
    alive = {
        "httpGet": {"path": ALIVE_PATH, "port": "status"},
        "periodSeconds": 20,
        "timeoutSeconds": 5,
        "failureThreshold": 3,
    }
    port = {"name": "status", "containerPort": STATUS_PORT, "protocol": "TCP"}
    return {"ports": [port], "readinessProbe": ready, "livenessProbe": alive}


def _containers(mirror: Mirror, settings: ControllerSettings) -> list[Json]:
    agent = _container(mirror, settings)
    return _beside_original(mirror, settings, agent) if settings.hostess_is_original else [agent]


def _beside_original(mirror: Mirror, settings: ControllerSettings, agent: Json) -> list[Json]:
    """Return the original agent, and the project's agent from the image of the caches.

    The original writes the hosts entry only. The other one installs the CA, reports the state and cleans the node.
    """
    original = {
        **agent,
        "ports": None,
        "readinessProbe": None,
        "livenessProbe": None,
        "env": _variables_of_original(mirror, settings),
        "volumeMounts": _mounts_of_original(),
        # Versions 1.1.0 and 1.4.0 took 65 and 96 MB at most.
        "resources": stored(mirror.agent.resources) or _resources("96Mi"),
    }
    beside = {
        **agent,
        "name": CERTIFICATE_INSTALLATION,
        "image": settings.cache_image,
        "command": ["python3", "-S", "-m", "hostess"],
        "env": [*agent["env"], {"name": "BESIDE_ORIGINAL", "value": "true"}],
        "resources": _resources("32Mi"),
    }
    return [original, beside]


def _container(mirror: Mirror, settings: ControllerSettings) -> Json:
    return {
        **EMPTY_IN_CONTAINER,
        "args": None,
        **_probes(),
        "name": "mirror-hostess",
        "image": settings.hostess_image,
        "imagePullPolicy": "IfNotPresent",
        "env": _environment(mirror, settings),
        "resources": stored(mirror.agent.resources) or _resources("32Mi"),
        "securityContext": {
            # The owner of the node's /etc/hosts is root.
            "runAsUser": 0,
            **confined(),
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            *_mounts_of_original(),
            *(_mount(name, path) for name, path in _directories(settings).items()),
            {"name": "ca", "mountPath": CA_DIRECTORY, "readOnly": True},
        ],
    }


def _mount(name: str, path: str) -> Json:
    return {"name": name, "mountPath": path, **({"readOnly": True} if name == READ_ONLY else {})}


def _on_host(name: str, path: str, kind: str) -> Json:
    return {"name": name, "hostPath": {"path": path, "type": kind}}
