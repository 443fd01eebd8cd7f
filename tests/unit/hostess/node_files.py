"""Provide a node's files in a temporary folder, and the settings of its agents."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from hostess import settings
from hostess.containerd.hosts_toml import owner
from hostess.fs import atomic
from hostess.node_config import Node
from hostess.registries import Registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hostess.settings import Settings

LOCALHOST = b"127.0.0.1 localhost\n# \xff not text\n10.1.2.3 by.hand"
CA = b"-----BEGIN CERTIFICATE-----\n"


class NodeFiles:
    """`root` has etc/hosts, etc/containerd and etc/docker."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.containerd = root / "etc/containerd/certs.d"
        self.docker = root / "etc/docker/certs.d"
        self.containers = root / "etc/containers"
        self.hosts = root / "etc/hosts"
        for folder in (self.containerd.parent, self.docker.parent, root / "backup", root / "lock"):
            folder.mkdir(parents=True)
        self.hosts.write_bytes(LOCALHOST)
        past = time.time() - 3600
        os.utime(self.hosts, (past, past))

    def environment(self, mirror: str, **changed: str) -> dict[str, str]:
        """Return the environment of this mirror's agent, and its upstream for `node_of`."""
        return {
            "SERVICE_NAME": f"registry-mirror-{mirror}",
            "SERVICE_NAMESPACE": "registry-mirror",
            "SHADOW_FQDN": f"mirror-{mirror}.example.com",
            "HOSTS_FILE": str(self.hosts),
            "HOSTS_FILE_BACKUP": str(self.root / "backup/hosts"),
            "LOCK_FILE": str(self.root / "lock/lock"),
            "UPSTREAM_URL": f"https://{mirror}.example.com",
            "UPSTREAM_HOST": f"{mirror}.example.com",
            "DOCKER_CERTS_DIR": str(self.docker),
            "CONTAINERD_CERTS_DIR": str(self.containerd),
            "CONTAINERS_DIR": str(self.containers),
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            **changed,
        }

    def settings(self, mirror: str = "one", **changed: str) -> Settings:
        """Return the settings of this mirror's agent."""
        return settings.read(self.environment(mirror, **changed))

    def agent(self, mirror: str = "one", **changed: str) -> Node:
        """Return the node as this mirror's agent writes it."""
        return node_of(self.environment(mirror, **changed))

    def put(self, path: str, content: str | bytes = "by hand") -> Path:
        """Write a foreign file."""
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content.encode() if isinstance(content, str) else content)
        return place

    def tree(self) -> dict[str, bytes | None]:
        """Return the content of each file by path, None for a folder, the target of a link."""
        return {str(path.relative_to(self.root)): _what(path) for path in sorted(self.root.rglob("*"))}

    def ours(self) -> Iterator[Path]:
        """Yield each hosts.toml that an agent wrote."""
        for path in self.containerd.glob("*/hosts.toml"):
            if owner(atomic.read_if_ours(path) or b"") is not None:
                yield path


def node_of(environment: dict[str, str]) -> Node:
    """Return the node of an agent that has seen its upstream."""
    registry = Registry(environment["UPSTREAM_HOST"], environment["UPSTREAM_URL"])
    return Node(settings.read(environment), (registry,))


def _what(path: Path) -> bytes | None:
    if path.is_symlink():
        return bytes(path.readlink())
    return path.read_bytes() if path.is_file() and os.access(path, os.R_OK) else None
