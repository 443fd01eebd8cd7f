"""Write and remove the files of one mirror in certs.d. Each step can be repeated, also after a crash."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from common import names
from common.agent_protocol import EXISTING_HOSTS_TOML
from hostess.containerd import certs_d, foreign_config, hosts_toml
from hostess.fs import atomic, owned_directories
from hostess.node_state import NodeConfigError
from hostess.steps import run_all

if TYPE_CHECKING:
    from pathlib import Path

    from hostess.registries import Registry
    from hostess.settings import Settings


_CA_SUFFIX: Final = ".crt"


@dataclass(frozen=True, slots=True)
class RegistryFiles:
    """Files of one mirror in the folders of containerd and docker. Call methods under the lock.

    Only `owned_folders` and `remove_hosts_toml` need no lock.
    """

    settings: Settings
    registries: tuple[Registry, ...] = ()
    searches_docker: bool = True

    @property
    def roots(self) -> tuple[Path, Path]:
        """Return containerd's folder, which each pull needs, and docker's."""
        return self.settings.containerd_certs, self.settings.docker_certs

    @property
    def searched(self) -> tuple[Path, ...]:
        """Return the folders in which containerd may find foreign settings of an upstream."""
        return self.roots if self.searches_docker else self.roots[:1]

    @property
    def ca_folders(self) -> tuple[Path, ...]:
        """Return the folders that hold the CA of the mirror."""
        return tuple(root / self.settings.masquerade for root in self.roots)

    @property
    def upstreams(self) -> list[Path]:
        """Return the folders in which containerd looks for hosts.toml of the upstreams, by each of their names."""
        return [self._upstream(host) for registry in self.registries for host in registry.image_hosts]

    @property
    def shares_folder(self) -> bool:
        """Return True if the mirror has a name of an upstream, so that its CA is in a folder of the upstream."""
        return any(folder in self.ca_folders for folder in self.upstreams)

    def owned_folders(self) -> list[Path]:
        """Return every folder with a hosts.toml of this mirror."""
        return [folder for folder in owned_directories.subfolders(self.roots[0]) if self._is_owner(folder)]

    def exist(self) -> bool:
        """Return True if any file of this mirror is in the folders of containerd and docker."""
        folders = (folder for root in self.roots for folder in owned_directories.subfolders(root))
        return bool(self.owned_folders()) or any(os.path.lexists(folder / self._certificate) for folder in folders)

    def mirrors(self) -> set[str]:
        """Return all mirrors with a hosts.toml, or with a CA in a folder that an agent created."""
        found = {_owner(folder) for folder in owned_directories.subfolders(self.roots[0])}
        for root in self.roots:
            for folder in filter(owned_directories.is_owned, owned_directories.subfolders(root)):
                found |= {_mirror_of_ca(path.name) for path in folder.glob(f"{names.PREFIX}*{_CA_SUFFIX}")}
        return {mirror for mirror in found if mirror is not None}

    def remove_hosts_toml(self, folder: Path) -> None:
        """Remove hosts.toml if it is of this mirror."""
        if self._is_owner(folder):
            atomic.remove(folder / certs_d.HOSTS_TOML)

    def remove_stale_hosts_tomls(self) -> None:
        """Remove hosts.toml of earlier upstreams."""
        for folder in self.owned_folders():
            if folder not in self.upstreams:
                self._remove_with_folder(folder)

    def affect_upstream(self) -> bool:
        """Return True if own files affect pulls; an empty folder hides foreign settings of an upstream."""
        return any(self._is_owner(folder) or self._is_vacant(folder) for folder in self.upstreams)

    def write_ca(self, root: Path, ca: bytes) -> None:
        """Write the CA for pulls by masqueradeUrl, and for hosts.toml, into the folder of one runtime."""
        folder = root / self.settings.masquerade
        owned_directories.ensure(folder)
        self._put(folder / self._certificate, ca)

    def write_hosts_tomls(self) -> None:
        """Write hosts.toml for each name of each upstream. Raises NodeConfigError if a foreign one is in the way.

        An upstream gets none if a foreign one has its usual name. The other upstreams do not depend on it.
        """
        run_all(partial(self._write_registry, registry) for registry in self.registries if registry.host)

    def remove_stale_cas(self) -> None:
        """Remove CAs of an earlier masqueradeUrl, except those that a hosts.toml still names."""
        tomls = (folder / certs_d.HOSTS_TOML for folder in self.owned_folders())
        named = b"".join(atomic.read_if_ours(path) or b"" for path in tomls)
        for root in self.roots:
            for folder in owned_directories.subfolders(root):
                path = folder / self._certificate
                if folder not in self.ca_folders and os.path.lexists(path) and bytes(path) not in named:
                    self.release(folder)

    def release(self, folder: Path) -> None:
        """Remove the mirror's files from a folder, and the folder if it is ours and empty."""
        self.remove_hosts_toml(folder)
        for name in (self._certificate, self._part):
            atomic.remove(folder / name)
        owned_directories.release(folder)

    @property
    def _certificate(self) -> str:
        """Return a name of our own, so that no foreign ca.crt is overwritten."""
        return f"{names.PREFIX}{self.settings.mirror}{_CA_SUFFIX}"

    @property
    def _part(self) -> str:
        return f".{names.PREFIX}{self.settings.mirror}.part"

    def _upstream(self, host: str) -> Path:
        return self.roots[0] / certs_d.folder_name(host)

    def _is_owner(self, folder: Path) -> bool:
        return _owner(folder) == self.settings.mirror

    def _is_vacant(self, folder: Path) -> bool:
        return _owner(folder) is None and owned_directories.is_owned(folder)

    def _put(self, path: Path, content: bytes) -> None:
        if atomic.read_or_none(path) != content:
            atomic.replace(path, content, self._part)

    def _refuse_foreign(self, registry: Registry, host: str) -> None:
        foreign = foreign_config.find_foreign_hosts_toml(self.searched, host)
        is_default = foreign is not None and foreign.parent.name == certs_d.DEFAULT
        # An administrator who took the usual host out of _default means its other names too.
        if foreign is None or (is_default and host != registry.host):
            return
        if not os.path.lexists(foreign):
            what = "cannot be read by the agent. Its folder must be readable for root, and no link."
        elif is_default:
            name = certs_d.folder_name(host)
            what = f"is not ours. Keep it, and create the folder {name} beside _default: {host} then ignores _default."
        else:
            what = "is not ours. Remove it if nothing else needs it. CAs and client certificates beside it stay in use."
        raise NodeConfigError(EXISTING_HOSTS_TOML, f"images of {host} do not come through the mirror: {foreign} {what}")

    def _write_registry(self, registry: Registry) -> None:
        usual, *others = registry.image_hosts
        try:
            self._write_hosts_toml(registry, usual)
        except NodeConfigError:
            for host in registry.image_hosts:
                self._remove_with_folder(self._upstream(host))
            raise
        run_all(partial(self._write_other_hosts_toml, registry, host) for host in others)

    def _write_hosts_toml(self, registry: Registry, host: str) -> None:
        self._refuse_foreign(registry, host)
        folder = self._upstream(host)
        owned_directories.ensure(folder)
        self._put(folder / certs_d.HOSTS_TOML, self._content(registry, host).encode())

    def _write_other_hosts_toml(self, registry: Registry, host: str) -> None:
        """Write hosts.toml for another spelling, unless it is another mirror's own: `host:443` over http."""
        folder = self._upstream(host)
        if _owner(folder) not in (None, self.settings.mirror):
            return
        try:
            self._write_hosts_toml(registry, host)
        except NodeConfigError:
            self._remove_with_folder(folder)
            raise

    def _remove_with_folder(self, folder: Path) -> None:
        self.remove_hosts_toml(folder)
        owned_directories.release(folder)

    def _content(self, registry: Registry, host: str) -> str:
        mirror, masquerade = self.settings.mirror, self.settings.masquerade
        upstream = foreign_config.carry_over(self.searched, host, registry.fallback_of(host, masquerade))
        ca_path = str(self.ca_folders[0] / self._certificate)
        # If the upstream's name leads to the mirror, there is no second host.
        render = hosts_toml.render_hidden if registry.is_named(masquerade) else hosts_toml.render
        return render(mirror, masquerade, ca_path, upstream)


def _mirror_of_ca(name: str) -> str | None:
    mirror = name.removeprefix(names.PREFIX).removesuffix(_CA_SUFFIX)
    return mirror if names.is_mirror_name(mirror) else None


def _owner(folder: Path) -> str | None:
    """Return the mirror whose hosts.toml is in the folder; None without one, and for a foreign one."""
    return hosts_toml.owner(atomic.read_if_ours(folder / certs_d.HOSTS_TOML) or b"")
