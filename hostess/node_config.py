"""Write and remove the node's files of one mirror. Each step can be repeated, also after a crash.

The order matters: containerd fails a pull if hosts.toml names a missing CA file.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from common import names
from common.agent_protocol import EXISTING_HOSTS_TOML
from hostess.containerd import certs_d, foreign_config, hosts_toml, literal_path
from hostess.fs import atomic, owned_directories
from hostess.hostsfile import mountinfo
from hostess.hostsfile.hosts_file import HostsFile
from hostess.node_state import NodeConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hostess.settings import Settings


@dataclass(frozen=True)
class Node:
    """Node of one mirror. Methods raise OSError, TimeoutError (the lock), NodeConfigError, MountReplaced."""

    settings: Settings

    @cached_property
    def hosts(self) -> HostsFile:
        """Return the node's hosts file."""
        path = self.settings.hosts_file
        return HostsFile(path, self.settings.backup, mountinfo.source_of(path))

    def addresses(self) -> tuple[str, ...]:
        """Return the mirror's last addresses, which a restarted agent probes before the API server answers."""
        return self.hosts.entries(self.settings.mirror, self.settings.masquerade)

    @property
    def is_outdated(self) -> bool:
        """Return True if a mounted file or folder was removed on the node, so that writes to it are lost."""
        settings = self.settings
        below = (settings.containerd_certs, settings.docker_certs, settings.backup, settings.lock_file)
        mounted = (settings.hosts_file, *(path.parent for path in below))
        return any(path.exists() and path.stat().st_nlink == 0 for path in mounted)

    def introduce(self, addresses: tuple[str, ...], ca: bytes) -> bool:
        """Publish the mirror's name and CA, unless they would hide the upstream; return True if the name is new.

        Before the mirror answers: a runtime written in Go reads the hosts file every five seconds only.
        """
        if self.settings.hides_upstream or self._upstream in self._ca_folders:
            return False
        with atomic.locked(self.settings.lock_file):
            return self._introduce(addresses, ca)

    def configure(self, addresses: tuple[str, ...], ca: bytes, literal: str | None) -> bool:
        """Configure the node for the mirror; return True if the mirror's name is new.

        `literal` is a list of roots that the runtime takes for one folder's name. Raises NodeConfigError if foreign
        files are in the way, after writing the rest.
        """
        with atomic.locked(self.settings.lock_file):
            self._remove_stale_hosts_tomls()
            is_new = self._introduce(addresses, ca)
            try:
                if self.settings.upstream_host:
                    self._write_hosts_toml()
            finally:
                self._remove_stale_cas()
                if literal is not None:
                    literal_path.provide(literal, self.settings.containerd_certs)
        return is_new

    def withdraw(self) -> None:
        """Remove the mirror from pulls by the name of the upstream, or of a former upstream."""
        former = [path.parent for path in self._hosts_tomls() if path.parent != self._upstream]
        if not former and not self._affects_upstream():
            return
        # First without the lock: another agent's lock must not keep pulls on a dead mirror.
        for folder in (*former, self._upstream):
            self._remove_hosts_toml(folder)
        with atomic.locked(self.settings.lock_file):
            for folder in former:
                owned_directories.release(folder)
            if self.settings.hides_upstream:
                self.hosts.remove(self.settings.mirror)
            if self._upstream in self._ca_folders:  # the folder would hide foreign settings of the upstream
                for folder in self._ca_folders:
                    self._release(folder)
            self._release(self._upstream)

    def clean(self) -> None:
        """Remove all files of the mirror; with the last mirror also the shared ones."""
        for path in self._hosts_tomls():
            self._remove_hosts_toml(path.parent)
        with atomic.locked(self.settings.lock_file):
            self.hosts.remove(self.settings.mirror)
            for root in self._roots:
                for folder in (*_subfolders(root), root):
                    self._release(folder)
                owned_directories.release(root.parent)
            if not self.hosts.mirrors():
                literal_path.remove(self.settings.containerd_certs)
                self.hosts.delete_backup()
                atomic.remove(self.settings.lock_file)

    @property
    def _roots(self) -> tuple[Path, Path]:
        return self.settings.containerd_certs, self.settings.docker_certs

    @property
    def _ca_folders(self) -> tuple[Path, ...]:
        """Return the folders that hold the CA of the mirror."""
        return tuple(root / self.settings.masquerade for root in self._roots)

    @property
    def _upstream(self) -> Path:
        return self.settings.containerd_certs / certs_d.folder_name(self.settings.upstream_host or "-")

    @property
    def _certificate(self) -> str:
        """Return a name of our own, so that no foreign ca.crt is overwritten."""
        return f"{names.PREFIX}{self.settings.mirror}.crt"

    @property
    def _part(self) -> str:
        return f".{names.PREFIX}{self.settings.mirror}.part"

    def _put(self, path: Path, content: bytes) -> None:
        if atomic.read_or_none(path) != content:
            atomic.replace(path, content, self._part)

    def _introduce(self, addresses: tuple[str, ...], ca: bytes) -> bool:
        for folder in self._ca_folders:
            owned_directories.ensure(folder)
            self._put(folder / self._certificate, ca)
        return self.hosts.set(self.settings.mirror, self.settings.masquerade, addresses)

    def _write_hosts_toml(self) -> None:
        settings = self.settings
        foreign = foreign_config.find_foreign_hosts_toml(self._roots, settings.upstream_host)
        if foreign is not None:
            self._remove_hosts_toml(self._upstream)
            owned_directories.release(self._upstream)
            raise NodeConfigError(
                EXISTING_HOSTS_TOML,
                f"images of {settings.upstream_host} do not come through the mirror: {foreign} is not ours. Add"
                f" https://{settings.masquerade} to it as a host, or remove it if nothing else needs it.",
            )
        upstream = foreign_config.carry_over(self._roots, settings.upstream_host, settings.upstream_url)
        ca_path = str(self._ca_folders[0] / self._certificate)
        if settings.hides_upstream and self._upstream in self._ca_folders:
            # The upstream's name leads to the mirror; there is no second host.
            content = hosts_toml.render_hidden(settings.mirror, settings.masquerade, ca_path, upstream)
        else:
            content = hosts_toml.render(settings.mirror, settings.masquerade, ca_path, upstream)
        owned_directories.ensure(self._upstream)
        self._put(self._upstream / certs_d.HOSTS_TOML, content.encode())

    def _affects_upstream(self) -> bool:
        """Return True if own files affect pulls; an empty folder hides foreign settings of the upstream."""
        toml = atomic.read_or_none(self._upstream / certs_d.HOSTS_TOML) or b""
        owner = hosts_toml.owner(toml)
        if owner == self.settings.mirror or (owner is None and owned_directories.is_owned(self._upstream)):
            return True
        return self.settings.hides_upstream and bool(self.addresses())

    def _hosts_tomls(self) -> list[Path]:
        """Return every hosts.toml of this mirror."""
        paths = (folder / certs_d.HOSTS_TOML for folder in _subfolders(self.settings.containerd_certs))
        return [path for path in paths if hosts_toml.owner(atomic.read_or_none(path) or b"") == self.settings.mirror]

    def _remove_hosts_toml(self, folder: Path) -> None:
        path = folder / certs_d.HOSTS_TOML
        if hosts_toml.owner(atomic.read_or_none(path) or b"") == self.settings.mirror:
            atomic.remove(path)

    def _remove_stale_hosts_tomls(self) -> None:
        """Remove hosts.toml of an earlier upstream."""
        for path in self._hosts_tomls():
            if path.parent != self._upstream or not self.settings.upstream_host:
                self._remove_hosts_toml(path.parent)
                owned_directories.release(path.parent)

    def _remove_stale_cas(self) -> None:
        """Remove CAs of an earlier masqueradeUrl, except those that a hosts.toml still names."""
        named = b"".join(atomic.read_or_none(path) or b"" for path in self._hosts_tomls())
        for root in self._roots:
            for folder in _subfolders(root):
                path = folder / self._certificate
                if folder not in self._ca_folders and path.exists() and bytes(path) not in named:
                    self._release(folder)

    def _release(self, folder: Path) -> None:
        """Remove the mirror's files from a folder, and the folder if it is ours and empty."""
        self._remove_hosts_toml(folder)
        for name in (self._certificate, self._part):
            atomic.remove(folder / name)
        owned_directories.release(folder)


def _subfolders(root: Path) -> Iterator[Path]:
    try:
        found = sorted(root.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return
    yield from (path for path in found if path.is_dir() and not path.is_symlink())
