"""Write and remove the drop-in of one mirror in registries.conf.d of the node."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from common import names
from common.agent_protocol import EXISTING_REGISTRIES_CONF
from common.image_hosts import host_name
from hostess.containerd.hosts_toml import owner
from hostess.containers import registries_conf
from hostess.fs import atomic
from hostess.node_state import NodeConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hostess.registries import Registry
    from hostess.settings import Settings

# Files that podman and CRI-O need. The mount of a node without them is an empty folder.
_USED: Final = ("policy.json", "registries.conf")
_SUFFIX: Final = ".conf"


@dataclass(frozen=True, slots=True)
class DropIn:
    """Drop-in of one mirror. Only `remove` needs no lock."""

    settings: Settings
    registries: tuple[Registry, ...] = ()

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
        """Write the drop-in for all names of the upstreams that nothing else configures.

        Raises NodeConfigError if a foreign file configures an upstream.
        """
        tables = [each for registry in self.registries for each in self._tables(registry)]
        if tables:
            self._put(registries_conf.render(self.settings.mirror, tables).encode())
        else:
            self.remove()
        for host in (registry.host for registry in self.registries if registry.host):
            for path in self._configuring(host):
                raise NodeConfigError(
                    EXISTING_REGISTRIES_CONF,
                    f"images of {host} do not come through the mirror: {path} configures that registry, or cannot be"
                    f" read. Add {self._location(host)} to it as a mirror, or remove the registry from it.",
                )

    def _tables(self, registry: Registry) -> Iterator[registries_conf.Registry]:
        """Yield a table for each name of an upstream.

        There is none if the mirror has that name, which the hosts entry redirects. A host with a port has no place in
        the path of an image.
        """
        is_first = registry == self.registries[0]
        if registry.is_named(self.settings.masquerade) or not (is_first or host_name(registry.host) == registry.host):
            return
        insecure = urlsplit(registry.url).scheme == "http"
        for host in filter(registries_conf.is_supported, registry.image_hosts):
            if not any(self._configuring(host)):
                yield registries_conf.Registry(host, self._location(registry.host), insecure)

    def _location(self, host: str) -> str:
        """Return where the mirror has the images of a host. It counts pulls of nodes that name the host.

        A client that names none gets the first upstream.
        """
        masquerade = self.settings.masquerade
        return f"{masquerade}/{host}" if host_name(host) == host else masquerade

    def _configuring(self, host: str) -> Iterator[Path]:
        """Yield the foreign files that configure a registry."""
        for path in (self.settings.containers / "registries.conf", *self._files()):
            if not os.path.lexists(path) or _owner(path) is not None:
                continue
            content = atomic.read_if_ours(path)
            if content is None or registries_conf.configures(content, host):
                yield path

    def _files(self) -> list[Path]:
        """Return the drop-ins. podman skips folders, but opens a link to a folder and then fails."""
        try:
            with os.scandir(self.folder) as entries:
                found = [each.name for each in entries if not each.is_dir(follow_symlinks=False)]
            return sorted(self.folder / name for name in found if name.endswith(_SUFFIX))
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
