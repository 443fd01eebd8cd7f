"""What others have set for a host in the places where containerd looks: respected, and carried along."""

from __future__ import annotations

from typing import TYPE_CHECKING

from common import names
from hostess.containerd import certs_d, hosts_toml
from hostess.containerd.hosts_toml import Upstream
from hostess.fs import atomic
from hostess.fs.owned_directories import is_ours_alone

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


def hosts_toml_of_others(roots: Iterable[Path], host: str) -> Path | None:
    """A hosts.toml that no agent wrote, in any place where containerd looks for the host; None for none.

    A link is one of a person's, and so is what may be behind a folder that is one: it may lead out of what we see.
    """
    for folder in certs_d.looked_at(roots, host):
        path = folder / certs_d.HOSTS_TOML
        content = atomic.content_of(path)
        if path.is_symlink() or (folder.is_symlink() and not folder.exists()):
            return path
        if content is not None and hosts_toml.owner(content) is None:
            return path
    return None


def carried(roots: Iterable[Path], host: str, url: str) -> Upstream:
    """The upstream with what containerd would read for it, were we not there: beside a hosts.toml it stops to."""
    for folder in certs_d.looked_at(roots, host):
        present = sorted(_foreign_files(folder))
        if present or (folder.is_dir() and not is_ours_alone(folder)):
            return Upstream(url, tuple(_authorities(present)), tuple(_clients(present)))
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
    """Whether hosts.toml can name it: containerd fails every pull of a host over a file that is not there."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace") == name


def _authorities(present: list[Path]) -> Iterator[str]:
    """CA files. A link may lead out of what the agent sees; where it leads nowhere, pulls failed before us too."""
    yield from (str(path) for path in present if path.suffix == ".crt" and _is_file(path))


def _clients(present: list[Path]) -> Iterator[tuple[str, str]]:
    """Pairs of certificate and key, as docker and containerd name them."""
    for path in present:
        key = path.with_suffix(".key")
        if path.suffix == ".cert" and _is_file(key):
            yield str(path), str(key)


def _is_file(path: Path) -> bool:
    return path.is_file() or path.is_symlink()
