"""Write and remove the drop-in of one mirror in registries.conf.d of the node."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from common import names
from common.agent_protocol import EXISTING_REGISTRIES_CONF
from hostess.containerd.hosts_toml import owner
from hostess.containers import registries_conf
from hostess.containers.registries_conf import Registry
from hostess.fs import atomic
from hostess.node_state import NodeConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hostess.settings import Settings

# Files that podman and CRI-O need. The mount of a node without them is an empty folder.
_USED: Final = ("policy.json", "registries.conf")
_SUFFIX: Final = ".conf"


@dataclass(frozen=True, slots=True)
class DropIn:
    """Drop-in of one mirror. Only `remove` needs no lock."""

    settings: Settings

    @property
    def folder(self) -> Path:
        """Return the folder of drop-ins."""
        return self.settings.containers / "registries.conf.d"

    @property
    def path(self) -> Path:
        """Return the mirror's file. It sorts behind those that begin with a digit."""
        return self.folder / f"{names.object_name(self.settings.mirror)}{_SUFFIX}"

    def is_used(self) -> bool:
        """Return True if podman or CRI-O is configured on the node."""
        return any(os.path.lexists(self.settings.containers / name) for name in _USED)

    def exists(self) -> bool:
        """Return True if the mirror has a drop-in."""
        return _owner(self.path) == self.settings.mirror

    def mirrors(self) -> set[str]:
        """Return all mirrors with a drop-in."""
        return {mirror for path in self._files() if (mirror := _owner(path)) is not None}

    def remove(self) -> None:
        """Remove the mirror's drop-in, and the unfinished one of a killed agent."""
        if self.exists():
            atomic.remove(self.path)
        atomic.remove(self._part)

    def write(self) -> None:
        """Write the drop-in for all names of the upstream that nothing else configures.

        Raises NodeConfigError if a foreign file configures the upstream.
        """
        hosts = [host for host in self._hosts() if not any(self._configuring(host))]
        if hosts:
            self._put(registries_conf.render(self.settings.mirror, map(self._registry, hosts)).encode())
        else:
            self.remove()
        for host in self.settings.image_hosts[:1]:
            for path in self._configuring(host):
                raise NodeConfigError(
                    EXISTING_REGISTRIES_CONF,
                    f"images of {host} do not come through the mirror: {path} configures that registry, or cannot be"
                    f" read. Add {self.settings.masquerade} to it as a mirror, or remove the registry from it.",
                )

    def _hosts(self) -> Iterator[str]:
        """Yield the hosts to write: none if the mirror has the upstream's own name, which the hosts entry redirects."""
        if not self.settings.hides_upstream:
            yield from filter(registries_conf.is_supported, self.settings.image_hosts)

    def _registry(self, host: str) -> Registry:
        # A client without `ns` gets the first upstream of the mirror.
        insecure = urlsplit(self.settings.upstream_url).scheme == "http"
        return Registry(host, self.settings.masquerade, insecure)

    def _configuring(self, host: str) -> Iterator[Path]:
        """Yield the foreign files that configure a registry."""
        for path in (self.settings.containers / "registries.conf", *self._files()):
            if not os.path.lexists(path) or _owner(path) is not None:
                continue
            content = atomic.read_if_ours(path)
            if content is None or registries_conf.configures(content, host):
                yield path

    def _files(self) -> list[Path]:
        try:
            return sorted(path for path in self.folder.iterdir() if path.suffix == _SUFFIX)
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            return []

    @property
    def _part(self) -> Path:
        return self.folder / f".{self.path.stem}.part"

    def _put(self, content: bytes) -> None:
        if atomic.read_or_none(self.path) != content:
            # The name of the unfinished file has another suffix, so it is not read.
            atomic.replace(self.path, content, self._part.name)


def _owner(path: Path) -> str | None:
    return owner(atomic.read_if_ours(path) or b"")
