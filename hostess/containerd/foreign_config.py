"""Find foreign settings of a host in containerd's folders: they are never changed, and carried over."""

from __future__ import annotations

import os
import stat
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
    """Return a foreign hosts.toml that containerd reads, or would read without ours; None without one.

    A link or a linked folder is foreign: it may lead to a folder outside of the agent's mounts. So is what the agent
    cannot read: containerd can.
    """
    for folder in certs_d.search_path(roots, host):
        if _is_foreign(folder / certs_d.HOSTS_TOML):
            return folder / certs_d.HOSTS_TOML
        if _is_administrators(folder, _foreign_files(folder)):
            break
    return None


def _is_administrators(folder: Path, foreign_files: Iterable[Path]) -> bool:
    """Return True if containerd reads this folder also without the agent, and then no later one."""
    return any(True for _ in foreign_files) or (folder.is_dir() and not is_owned(folder))


def _is_foreign(path: Path) -> bool:
    try:
        is_link = stat.S_ISLNK(path.lstat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return path.parent.is_symlink() and not os.path.exists(path.parent)  # noqa: PTH110 (Path.exists may raise)
    except OSError:
        return True
    return is_link or hosts_toml.owner(atomic.read_if_ours(path) or b"") is None


def carry_over(roots: Iterable[Path], host: str, url: str) -> Upstream:
    """Return the upstream with its foreign CAs and client certificates: containerd ignores them beside a hosts.toml."""
    for folder in certs_d.search_path(roots, host):
        present = sorted(_foreign_files(folder))
        if _is_administrators(folder, present):
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
