"""Find foreign settings of a host in containerd's folders: they are never changed, and carried over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from common import names
from hostess.containerd import certs_d, hosts_toml
from hostess.containerd.hosts_toml import Upstream
from hostess.fs import atomic
from hostess.fs.owned_directories import is_owned

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


def find_foreign_hosts_toml(roots: Iterable[Path], host: str) -> Path | None:
    """Return a foreign hosts.toml in containerd's search path; None without one.

    A link or a linked folder is foreign: it may lead to a folder outside of the agent's mounts.
    """
    for folder in certs_d.search_path(roots, host):
        path = folder / certs_d.HOSTS_TOML
        content = atomic.read_or_none(path)
        if path.is_symlink() or (folder.is_symlink() and not folder.exists()):
            return path
        if content is not None and hosts_toml.owner(content) is None:
            return path
    return None


def carry_over(roots: Iterable[Path], host: str, url: str) -> Upstream:
    """Return the upstream with its foreign CAs and client certificates: containerd ignores them beside a hosts.toml."""
    for folder in certs_d.search_path(roots, host):
        present = sorted(_foreign_files(folder))
        if present or (folder.is_dir() and not is_owned(folder)):
            ca_files = tuple(str(path) for path in present if path.suffix == ".crt" and _is_file(path))
            return Upstream(url, ca_files, tuple(_client_pairs(present)))
    return Upstream(url)


def _foreign_files(folder: Path) -> Iterator[Path]:
    try:
        found = list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return
    for path in found:
        if not path.name.startswith((".", names.PREFIX)) and path.name != certs_d.HOSTS_TOML and _is_text(path.name):
            yield path


def _is_text(name: str) -> bool:
    """Return True if hosts.toml can name the file: a wrong name fails every pull of the host."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace") == name


def _client_pairs(present: list[Path]) -> Iterator[tuple[str, str]]:
    """Yield pairs of certificate and key, by the names of docker and containerd."""
    for path in present:
        key = path.with_suffix(".key")
        if path.suffix == ".cert" and _is_file(key):
            yield str(path), str(key)


def _is_file(path: Path) -> bool:
    return path.is_file() or path.is_symlink()
