"""Read the agent's settings from the environment.

With the standard library alone: pydantic would need more memory than the rest of the agent.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from common import names
from common.agent_protocol import DIALER_SOCKET, STATUS_PORT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_PORTS: Final = range(1, 65536)


class SettingsError(Exception):
    """Wrong settings: one line per mistake, each with variable, value and what was expected."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of one agent.

    Without `node_name` the runtime's version stays unknown. `account` holds token and CA of the API server.
    """

    service: str
    namespace: str
    masquerade: str
    hosts_file: Path
    backup: Path
    lock_file: Path
    node_name: str
    ca_file: Path
    docker_certs: Path
    containerd_certs: Path
    containers: Path
    account: Path
    api_host: str
    api_port: int
    status_port: int
    beside_original: bool
    dialer: Path | None = None

    @property
    def mirror(self) -> str:
        """Return the name of the mirror: its Service's name without our prefix."""
        return self.service.removeprefix(names.PREFIX)

    @property
    def takes_nodes_name(self) -> bool:
        """Return True if the mirror has the name of the node or of the API server."""
        return self.masquerade in (self.node_name, self.api_host)


def read(environment: Mapping[str, str]) -> Settings:
    """Return the settings; an empty variable counts as unset. Raise SettingsError."""
    reader = _Reader(environment)
    settings = {each.field: reader.take(each) for each in VARIABLES}
    if reader.mistakes:
        raise SettingsError("\n".join(reader.mistakes))
    return Settings(**{**settings, "dialer": settings["dialer"] or None})  # type: ignore[arg-type]


class _Reader:
    """Reader that collects all mistakes."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = environment
        self.mistakes: list[str] = []

    def take(self, variable: Variable) -> object:
        name = variable.name
        value = self.environment.get(name, "").strip() or variable.default
        if value is None:
            self.mistakes.append(f"{name}: is not set; it is required")
            return None
        if value == "":
            return value
        try:
            return variable.parse(value)
        except ValueError as error:
            self.mistakes.append(f"{name}={value!r}: {error}")
            return None


def _object_name(value: str) -> str:
    if not names.is_object_name(value):
        raise ValueError("expected the name of an object: a-z, 0-9, hyphens and dots, at most 253 characters")
    return value


def _service(value: str) -> str:
    if not value.startswith(names.PREFIX) or not names.is_mirror_name(value.removeprefix(names.PREFIX)):
        raise ValueError(f"expected the Service of a mirror, {names.PREFIX}<name>")
    return value


def _dns_name(value: str) -> str:
    if not names.is_dns_name(value):
        raise ValueError("expected a DNS name in lower case, without a port")
    return value


def _path(value: str) -> Path:
    path = Path(value)
    if not path.is_absolute() or ".." in path.parts or len(path.parts) < len(("/", "folder", "file")):
        raise ValueError("expected an absolute path without .., below a folder of the root")
    return path


def _flag(value: str) -> bool:
    if value not in ("true", "false"):
        raise ValueError("expected true or false")
    return value == "true"


def _port(value: str) -> int:
    if not value.isdecimal() or int(value) not in _PORTS:
        raise ValueError("expected a port: 1 to 65535")
    return int(value)


@dataclass(frozen=True, slots=True)
class Variable:
    """Environment variable of a setting. `default` is None if the variable is required."""

    field: str
    name: str
    parse: Callable[[str], object]
    format: str
    description: str
    default: str | None = None


_FILE: Final = "absolute path"
_NAME: Final = "name of an object"
VARIABLES: Final = (
    Variable("service", "SERVICE_NAME", _service, "`registry-mirror-<name>`", "Service of the mirror."),
    Variable("namespace", "SERVICE_NAMESPACE", _object_name, _NAME, "Namespace of the Service."),
    Variable("masquerade", "SHADOW_FQDN", _dns_name, "DNS name", "Host name of the mirror on the node."),
    Variable("hosts_file", "HOSTS_FILE", _path, _FILE, "The node's `/etc/hosts`, as mounted."),
    Variable(
        "backup",
        "HOSTS_FILE_BACKUP",
        _path,
        _FILE,
        "Copy of the content that is not from mirrors; it restores an emptied hosts file.",
    ),
    Variable("lock_file", "LOCK_FILE", _path, _FILE, "Lock that agents of other mirrors on the node share."),
    Variable(
        "node_name",
        "NODE_NAME",
        _object_name,
        _NAME,
        "Node of the agent. If empty, the agent does not know the version of the container runtime.",
        "",
    ),
    Variable("ca_file", "CA_FILE", _path, _FILE, "PEM bundle of the mirror's CA.", "/etc/registry-mirror/ca.crt"),
    Variable("docker_certs", "DOCKER_CERTS_DIR", _path, _FILE, "Docker's registry folder.", "/etc/docker/certs.d"),
    Variable(
        "containerd_certs",
        "CONTAINERD_CERTS_DIR",
        _path,
        _FILE,
        "Folder in which containerd finds registry configuration.",
        "/etc/containerd/certs.d",
    ),
    Variable(
        "containers",
        "CONTAINERS_DIR",
        _path,
        _FILE,
        "Folder in which podman and CRI-O find registries.conf.",
        "/etc/containers",
    ),
    Variable(
        "account",
        "SERVICE_ACCOUNT_DIR",
        _path,
        _FILE,
        "Token and CA for the API server.",
        "/var/run/secrets/kubernetes.io/serviceaccount",
    ),
    Variable("api_host", "KUBERNETES_SERVICE_HOST", str, "host", "Address of the API server; the kubelet sets it."),
    Variable("api_port", "KUBERNETES_SERVICE_PORT", _port, "port", "Port of the API server.", "443"),
    Variable("status_port", "STATUS_PORT", _port, "port", "Port of the agent's status server.", str(STATUS_PORT)),
    Variable(
        "beside_original",
        "BESIDE_ORIGINAL",
        _flag,
        "`true` or `false`",
        "If true, the original mirror-hostess in the same pod writes the hosts entry.",
        "false",
    ),
    Variable(
        "dialer",
        DIALER_SOCKET,
        _path,
        _FILE,
        "Socket of the node's dialer, which opens the connections of probes. If empty, the agent opens them itself.",
        "",
    ),
)
