"""The node's files, brought to what one mirror needs of them. Each step can be repeated, after a crash as well.

The order matters to containerd: it fails a pull over a hosts.toml that names a CA file which is not there.
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
    """The node as one mirror's agent sees it. Methods raise OSError, TimeoutError (the lock), Hindrance, Replaced."""

    settings: Settings

    @cached_property
    def hosts(self) -> HostsFile:
        """The node's hosts file."""
        path = self.settings.hosts_file
        return HostsFile(path, self.settings.backup, mountinfo.source_of(path))

    def addresses(self) -> tuple[str, ...]:
        """Where the mirror was last known to be: a restarted agent probes it before the API server has answered."""
        return self.hosts.entries(self.settings.mirror, self.settings.masquerade)

    @property
    def is_outdated(self) -> bool:
        """Whether something that is mounted here was removed on the node, and so leads to nothing of the node's."""
        settings = self.settings
        folders_of = (settings.containerd_certs, settings.docker_certs, settings.backup, settings.lock_file)
        mounted = (settings.hosts_file, *(path.parent for path in folders_of))
        return any(path.exists() and path.stat().st_nlink == 0 for path in mounted)

    def introduce(self, addresses: tuple[str, ...], authority: bytes) -> bool:
        """Makes the mirror known by name and CA, where neither stands in the way of the upstream; whether that is news.

        Before the mirror answers: a runtime written in Go looks at the hosts file every five seconds only.
        """
        if self.settings.hides_upstream or self._upstream in self._trusting:
            return False
        with atomic.locked(self.settings.lock_file):
            return self._introduce(addresses, authority)

    def configure(self, addresses: tuple[str, ...], authority: bytes, literal: str | None) -> bool:
        """Points the node at the mirror; `literal` is a list of roots that the runtime takes for one folder's name.

        Returns whether the mirror's name is news to the node. Raises Hindrance where somebody else's files are in the
        way; the rest is then done all the same.
        """
        with atomic.locked(self.settings.lock_file):
            self._remove_stale_hosts_tomls()
            news = self._introduce(addresses, authority)
            try:
                if self.settings.upstream_host:
                    self._write_hosts_toml()
            finally:
                self._remove_stale_authorities()
                if literal is not None:
                    literal_path.provide(literal, self.settings.containerd_certs)
        return news

    def withdraw(self) -> None:
        """Takes the mirror out of the way of pulls by the upstream's own name, and by that of a former upstream."""
        former = [path.parent for path in self._hosts_tomls() if path.parent != self._upstream]
        if not former and not self._stands_before_upstream():
            return
        # Without the lock first: whoever holds it must not keep pulls going to a dead mirror.
        for folder in (*former, self._upstream):
            self._remove_hosts_toml(folder)
        with atomic.locked(self.settings.lock_file):
            for folder in former:
                owned_directories.release(folder)
            if self.settings.hides_upstream:
                self.hosts.drop(self.settings.mirror)
            if self._upstream in self._trusting:  # the folder would hide what others have set for the upstream
                for folder in self._trusting:
                    self._release(folder)
            self._release(self._upstream)

    def clean(self) -> None:
        """Removes all that is the mirror's; with the last mirror also what they share."""
        for path in self._hosts_tomls():
            self._remove_hosts_toml(path.parent)
        with atomic.locked(self.settings.lock_file):
            self.hosts.drop(self.settings.mirror)
            for root in self._roots:
                for folder in (*_subfolders(root), root):
                    self._release(folder)
                owned_directories.release(root.parent)
            if not self.hosts.mirrors():
                literal_path.remove(self.settings.containerd_certs)
                self.hosts.retire()
                atomic.remove(self.settings.lock_file)

    @property
    def _roots(self) -> tuple[Path, Path]:
        return self.settings.containerd_certs, self.settings.docker_certs

    @property
    def _trusting(self) -> tuple[Path, ...]:
        """Folders that hold the CA of the mirror."""
        return tuple(root / self.settings.masquerade for root in self._roots)

    @property
    def _upstream(self) -> Path:
        return self.settings.containerd_certs / certs_d.folder_name(self.settings.upstream_host or "-")

    @property
    def _certificate(self) -> str:
        """A name of its own: nobody's ca.crt is overwritten, and ours is known again."""
        return f"{names.PREFIX}{self.settings.mirror}.crt"

    @property
    def _part(self) -> str:
        return f".{names.PREFIX}{self.settings.mirror}.part"

    def _put(self, path: Path, content: bytes) -> None:
        if atomic.content_of(path) != content:
            atomic.replace(path, content, self._part)

    def _introduce(self, addresses: tuple[str, ...], authority: bytes) -> bool:
        for folder in self._trusting:
            owned_directories.ensure(folder)
            self._put(folder / self._certificate, authority)
        return self.hosts.set(self.settings.mirror, self.settings.masquerade, addresses)

    def _write_hosts_toml(self) -> None:
        settings = self.settings
        others = foreign_config.hosts_toml_of_others(self._roots, settings.upstream_host)
        if others is not None:
            self._remove_hosts_toml(self._upstream)
            owned_directories.release(self._upstream)
            raise NodeConfigError(
                EXISTING_HOSTS_TOML,
                f"{others} is not ours and is respected: images of {settings.upstream_host} do not come through the"
                " mirror. Remove it, or point it at the mirror yourself.",
            )
        upstream = foreign_config.carried(self._roots, settings.upstream_host, settings.upstream_url)
        trusted = str(self._trusting[0] / self._certificate)
        if settings.hides_upstream and self._upstream in self._trusting:
            # The name itself leads to the mirror; there is no second host to name.
            content = hosts_toml.render_hidden(settings.mirror, settings.masquerade, trusted, upstream)
        else:
            content = hosts_toml.render(settings.mirror, settings.masquerade, trusted, upstream)
        owned_directories.ensure(self._upstream)
        self._put(self._upstream / certs_d.HOSTS_TOML, content.encode())

    def _stands_before_upstream(self) -> bool:
        """Whether anything of ours does: an empty folder too, since it hides what others have set for the upstream."""
        toml = atomic.content_of(self._upstream / certs_d.HOSTS_TOML) or b""
        owner = hosts_toml.owner(toml)
        if owner == self.settings.mirror or (owner is None and owned_directories.is_ours_alone(self._upstream)):
            return True
        return self.settings.hides_upstream and bool(self.addresses())

    def _hosts_tomls(self) -> list[Path]:
        """Every hosts.toml that an agent of this mirror wrote."""
        paths = (folder / certs_d.HOSTS_TOML for folder in _subfolders(self.settings.containerd_certs))
        return [path for path in paths if hosts_toml.owner(atomic.content_of(path) or b"") == self.settings.mirror]

    def _remove_hosts_toml(self, folder: Path) -> None:
        path = folder / certs_d.HOSTS_TOML
        if hosts_toml.owner(atomic.content_of(path) or b"") == self.settings.mirror:
            atomic.remove(path)

    def _remove_stale_hosts_tomls(self) -> None:
        """What an agent of this mirror left under an earlier upstream."""
        for path in self._hosts_tomls():
            if path.parent != self._upstream or not self.settings.upstream_host:
                self._remove_hosts_toml(path.parent)
                owned_directories.release(path.parent)

    def _remove_stale_authorities(self) -> None:
        """What was left under an earlier masqueradeUrl, but for what a hosts.toml still names."""
        named = b"".join(atomic.content_of(path) or b"" for path in self._hosts_tomls())
        for root in self._roots:
            for folder in _subfolders(root):
                path = folder / self._certificate
                if folder not in self._trusting and path.exists() and bytes(path) not in named:
                    self._release(folder)

    def _release(self, folder: Path) -> None:
        """Takes all of the mirror's out of a folder, and the folder, where it is ours and empty."""
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
