"""Write and remove the node's files of one mirror. Each step can be repeated, also after a crash.

The order matters: containerd fails a pull if hosts.toml names a missing CA file.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING

from common import names
from common.agent_protocol import EXISTING_HOSTS_ENTRY
from hostess.containerd import literal_path
from hostess.containerd.registry_files import RegistryFiles
from hostess.containers.drop_in import DropIn
from hostess.fs import atomic, owned_directories
from hostess.fs.presence import Presence
from hostess.hostsfile import mountinfo
from hostess.hostsfile.hosts_file import HostsFile, MountReplaced
from hostess.node_state import NodeConfigError
from hostess.steps import run_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from hostess.registries import Registry
    from hostess.settings import Settings


@dataclass
class Node:
    """Node of one mirror. Methods raise OSError, TimeoutError (the lock), NodeConfigError, MountReplaced.

    Unreadable foreign files are left out. A failure is raised after the other steps. `registries` are None until the
    agent knows them: then hosts.toml may be removed, and is not written.
    """

    settings: Settings
    registries: tuple[Registry, ...] | None = None

    @cached_property
    def hosts(self) -> HostsFile:
        """Return the node's hosts file."""
        path = self.settings.hosts_file
        return HostsFile(path, self.settings.backup, mountinfo.source_of(path))

    @cached_property
    def presence(self) -> Presence:
        """Return the lock that shows this agent to those of other mirrors."""
        return self._presence_of(self.settings.mirror)

    @property
    def files(self) -> RegistryFiles:
        """Return the mirror's files in certs.d."""
        return RegistryFiles(self.settings, self.registries or ())

    @property
    def hides_upstream(self) -> bool:
        """Return True if the hosts entry hides the first upstream, or may hide it."""
        return self.registries is None or self.registries[0].is_named(self.settings.masquerade)

    @property
    def drop_in(self) -> DropIn:
        """Return the mirror's drop-in for podman and CRI-O."""
        return DropIn(self.settings, self.registries or ())

    def addresses(self) -> tuple[str, ...]:
        """Return the mirror's last addresses, which a restarted agent probes before the API server answers."""
        return self.hosts.entries(self.settings.mirror, self.settings.masquerade)

    def has_name(self) -> bool:
        """Return True if the node resolves the mirror's name, once the node is configured."""
        return True

    @property
    def is_outdated(self) -> bool:
        """Return True if a mounted file or folder was removed on the node, so that writes to it are lost."""
        settings = self.settings
        below = (settings.containerd_certs, settings.docker_certs, settings.backup, settings.lock_file)
        mounted = (settings.hosts_file, self.drop_in.folder, *(path.parent for path in below))
        return any(path.exists() and path.stat().st_nlink == 0 for path in mounted)

    def introduce(self, addresses: tuple[str, ...], ca: bytes, *, reads_docker: bool = True) -> bool:
        """Publish the mirror's name and CA, unless they may hide an upstream; return True if the name is new.

        Before the mirror answers: a runtime written in Go reads the hosts file every five seconds only.
        """
        if self.hides_upstream or self.files.shares_folder:
            return False
        with atomic.locked(self.settings.lock_file):
            is_new = self._introduce(addresses, ca)
            self._write_docker_ca(ca, needed=reads_docker)
        return is_new

    def configure(
        self,
        addresses: tuple[str, ...],
        ca: bytes,
        literal: str | None,
        *,
        reads_docker: bool = True,
        reads_drop_in: bool = False,
        searches_docker: bool = True,
    ) -> bool:
        """Configure the node for the mirror; return True if the mirror's name is new.

        `literal` is a list of roots that the runtime takes for one folder's name. The runtime needs docker's folder
        with `reads_docker` only, and the drop-in with `reads_drop_in` only. Without `searches_docker`, containerd
        ignores foreign files in docker's folder. Raises NodeConfigError if foreign files are in the way.
        """
        with atomic.locked(self.settings.lock_file):
            files = replace(self.files, searches_docker=searches_docker)
            if self.registries is not None:
                files.remove_stale_hosts_tomls()
            is_new = self._introduce(addresses, ca)
            run_all(
                [
                    files.write_hosts_tomls,
                    files.remove_stale_cas,
                    partial(self._provide_literal, literal),
                    partial(self._write_docker_ca, ca, needed=reads_docker),
                    *([partial(self._write_drop_in, needed=reads_drop_in)] if self.registries is not None else []),
                ]
            )
        return is_new

    def refuse_contradiction(self, addresses: tuple[str, ...]) -> None:
        """Raise NodeConfigError and withdraw the mirror if a foreign line of the hosts file hides its name.

        A runtime would wait for a wrong address at each pull.
        """
        line = self.hosts.contradiction(self.settings.masquerade, addresses)
        if line:
            self.withdraw()
            raise NodeConfigError(
                EXISTING_HOSTS_ENTRY,
                f"pulls go to the upstream, because the node's hosts file has the line {line!r} before the mirror's own"
                " entry. Remove this line from /etc/hosts, or set another spec.masqueradeUrl.",
            )

    def withdraw(self) -> None:
        """Remove the mirror from pulls by the names of its upstreams, or of former ones."""
        files = self.files
        owned = files.owned_folders()
        if not owned and not self.drop_in.exists() and not self._affects_upstream():
            return
        # First without the lock: another agent's lock must not keep pulls on a dead mirror.
        run_all([self.drop_in.remove, *(partial(files.remove_hosts_toml, folder) for folder in owned)])
        with atomic.locked(self.settings.lock_file):
            run_all(self._withdrawing_steps(owned))

    def clean(self) -> None:
        """Remove all files of the mirror; with the last mirror also the shared ones."""
        run_all([self.drop_in.remove, self._remove_hosts_tomls, self._clean_locked])

    def is_clean(self) -> bool:
        """Return True if nothing of the mirror is on the node, also of what another program wrote back."""
        return not (self.hosts.has_block(self.settings.mirror) or self.files.exist() or self.drop_in.exists())

    def other_mirrors(self) -> set[str]:
        """Return the other mirrors with files that only agents write."""
        found = self.files.mirrors() | self.drop_in.mirrors()
        with contextlib.suppress(OSError, NodeConfigError):
            found |= set(self.hosts.mirrors())
        return found - {self.settings.mirror}

    def has_agent_of(self, mirror: str) -> bool:
        """Return True if an agent of that mirror runs on this node."""
        return self._presence_of(mirror).is_held()

    def remove_leftovers(self, mirror: str) -> bool:
        """Remove the files of another mirror, which no longer exists; return False if it has an agent again."""
        files = RegistryFiles(replace(self.settings, service=f"{names.PREFIX}{mirror}"))
        with atomic.locked(self.settings.lock_file):
            if self.has_agent_of(mirror):
                return False
            DropIn(files.settings).remove()
            for folder in files.owned_folders():
                files.remove_hosts_toml(folder)
            run_all(self._cleaning_steps(files))
        return True

    def _introduce(self, addresses: tuple[str, ...], ca: bytes) -> bool:
        self.files.write_ca(self.settings.containerd_certs, ca)
        return self.hosts.set(self.settings.mirror, self.settings.masquerade, addresses)

    def _write_docker_ca(self, ca: bytes, *, needed: bool) -> None:
        with contextlib.nullcontext() if needed else self._ignoring(OSError):
            self.files.write_ca(self.settings.docker_certs, ca)

    def _write_drop_in(self, *, needed: bool) -> None:
        """Write the drop-in. Without CRI-O, problems of podman are no problems of the mirror."""
        if needed:
            self.drop_in.write()
        elif self.drop_in.is_used():
            with self._ignoring(OSError, NodeConfigError):
                self.drop_in.write()

    @contextlib.contextmanager
    def _ignoring(self, *problems: type[Exception]) -> Iterator[None]:
        """Ignore problems of a folder that the runtime does not need. Raises MountReplaced if the node has lost it."""
        try:
            yield
        except problems as error:
            if self.is_outdated:
                raise MountReplaced from error

    def _provide_literal(self, literal: str | None) -> None:
        if literal is not None:
            literal_path.provide(literal, self.settings.containerd_certs)

    def _affects_upstream(self) -> bool:
        return self.files.affect_upstream() or (self.hides_upstream and bool(self.addresses()))

    def _withdrawing_steps(self, owned: list[Path]) -> Iterator[Callable[[], object]]:
        files = self.files
        if self.hides_upstream:
            yield partial(self.hosts.remove, self.settings.mirror)
        # A shared folder would hide foreign settings of the upstream.
        folders = [*files.upstreams, *(files.ca_folders if files.shares_folder else ())]
        yield from (partial(files.release, folder) for folder in folders)
        yield from (partial(owned_directories.release, folder) for folder in owned if folder not in folders)

    def _remove_hosts_tomls(self) -> None:
        run_all(partial(self.files.remove_hosts_toml, folder) for folder in self.files.owned_folders())

    def _clean_locked(self) -> None:
        with atomic.locked(self.settings.lock_file):
            run_all([*self._cleaning_steps(self.files), self._release_shared])

    def _cleaning_steps(self, files: RegistryFiles) -> Iterator[Callable[[], object]]:
        mirror = files.settings.mirror
        yield partial(self.hosts.remove, mirror)
        for root in files.roots:
            for folder in (*owned_directories.subfolders(root), root):
                yield partial(files.release, folder)
            yield partial(owned_directories.release, root.parent)
        yield partial(atomic.remove, self._presence_of(mirror).path)

    def _presence_of(self, mirror: str) -> Presence:
        path = self.settings.lock_file
        return Presence(path.with_name(f"{path.name}.{mirror}"))

    def _release_shared(self) -> None:
        if not self.hosts.has_block():
            literal_path.remove(self.settings.containerd_certs)
            self.hosts.delete_backup()
            atomic.remove(self.settings.lock_file)
