"""The agent's settings: the seed's variables, and few more.

Read with the standard library alone: pydantic would cost more memory than all the rest of the agent.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from common import names
from common.agent_protocol import STATUS_PORT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_PORTS: Final = range(1, 65536)
_DEFAULTS: Final = {
    "AUTHORITY_FILE": "/etc/registry-mirror/ca.crt",
    "DOCKER_CERTS_DIR": "/etc/docker/certs.d",
    "CONTAINERD_CERTS_DIR": "/etc/containerd/certs.d",
    "SERVICE_ACCOUNT_DIR": "/var/run/secrets/kubernetes.io/serviceaccount",
    "KUBERNETES_SERVICE_PORT": "443",
    "STATUS_PORT": str(STATUS_PORT),
    "UPSTREAM_HOST": "",
    "UPSTREAM_URL": "",
    "NODE_NAME": "",
}


class SettingsError(Exception):
    """Wrong settings: one line a mistake, each with variable, value and what was expected."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What `python -m hostess` reads from its environment.

    `upstream_host` is what image names start with, empty where another mirror's hosts.toml stands there; `node_name`
    is empty where it is not told, and then the runtime's version is not known. `account` holds token and CA of the API
    server.
    """

    service: str
    namespace: str
    masquerade: str
    hosts_file: Path
    backup: Path
    lock_file: Path
    upstream_host: str
    upstream_url: str
    node_name: str
    authority: Path
    docker_certs: Path
    containerd_certs: Path
    account: Path
    api_host: str
    api_port: int
    status_port: int

    @property
    def mirror(self) -> str:
        """Name of the mirror: that of its Service without our prefix."""
        return self.service.removeprefix(names.PREFIX)

    @property
    def takes_nodes_name(self) -> bool:
        """Whether the mirror would be known under the name of the node itself, or of the API server."""
        return self.masquerade in (self.node_name, self.api_host)

    @property
    def hides_upstream(self) -> bool:
        """Whether nodes reach the mirror under the upstream's own name, so that the hosts entry hides the upstream."""
        return bool(self.upstream_url) and urlsplit(self.upstream_url).hostname == self.masquerade


def read(environment: Mapping[str, str]) -> Settings:
    """Settings from the environment; an empty variable counts as one that is not set. Raises SettingsError."""
    reader = _Reader(environment)
    settings = {
        "service": reader.take("SERVICE_NAME", _service),
        "namespace": reader.take("SERVICE_NAMESPACE", _object_name),
        "masquerade": reader.take("SHADOW_FQDN", _dns_name),
        "hosts_file": reader.take("HOSTS_FILE", _path),
        "backup": reader.take("HOSTS_FILE_BACKUP", _path),
        "lock_file": reader.take("LOCK_FILE", _path),
        "upstream_host": reader.take("UPSTREAM_HOST", _folder),
        "upstream_url": reader.take("UPSTREAM_URL", _url),
        "node_name": reader.take("NODE_NAME", _object_name),
        "authority": reader.take("AUTHORITY_FILE", _path),
        "docker_certs": reader.take("DOCKER_CERTS_DIR", _path),
        "containerd_certs": reader.take("CONTAINERD_CERTS_DIR", _path),
        "account": reader.take("SERVICE_ACCOUNT_DIR", _path),
        "api_host": reader.take("KUBERNETES_SERVICE_HOST", str),
        "api_port": reader.take("KUBERNETES_SERVICE_PORT", _port),
        "status_port": reader.take("STATUS_PORT", _port),
    }
    if settings["upstream_host"] and not settings["upstream_url"] and "UPSTREAM_URL" not in reader.wrong:
        reader.mistakes.append("UPSTREAM_URL: is required where UPSTREAM_HOST is set: containerd falls back to it")
    if reader.mistakes:
        raise SettingsError("\n".join(reader.mistakes))
    return Settings(**settings)  # type: ignore[arg-type]


class _Reader:
    """Collects mistakes, so that all of them are told at once."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = environment
        self.mistakes: list[str] = []
        self.wrong: set[str] = set()

    def take(self, name: str, parse: Callable[[str], object]) -> object:
        value = self.environment.get(name, "").strip() or _DEFAULTS.get(name)
        if value is None:
            self._mistake(name, f"{name}: is required and not set")
            return None
        if value == "":
            return value
        try:
            return parse(value)
        except ValueError as error:
            self._mistake(name, f"{name}={value!r}: {error}")
            return None

    def _mistake(self, name: str, text: str) -> None:
        self.wrong.add(name)
        self.mistakes.append(text)


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


def _is_plain(value: str) -> bool:
    return value.isascii() and value.isprintable() and " " not in value


def _folder(value: str) -> str:
    if not _is_plain(value) or "/" in value or value.startswith(".") or value == "_default":
        raise ValueError("expected host or host:port, as image names start with it")
    return value


def _url(value: str) -> str:
    parts = urlsplit(value)
    is_host_alone = parts.netloc and "@" not in parts.netloc and value.rstrip("/") == f"{parts.scheme}://{parts.netloc}"
    if not _is_plain(value) or parts.scheme not in ("https", "http") or not is_host_alone or parts.port == 0:
        raise ValueError("expected https://host[:port] or http://host[:port]")
    return value


def _port(value: str) -> int:
    if not value.isdecimal() or int(value) not in _PORTS:
        raise ValueError("expected a port: 1 to 65535")
    return int(value)
