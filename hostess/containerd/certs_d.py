"""Name the folders in which containerd and docker look for the settings of a host."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

DEFAULT: Final = "_default"
HOSTS_TOML: Final = "hosts.toml"


def folder_name(host: str) -> str:
    """Return the spelling that containerd looks for first: `host_port_` for `host:port`.

    It replaces the last colon of an IPv6 address without a port too: `[fd00:_1]_` for `[fd00::1]`.
    """
    name, separator, port = host.rpartition(":")
    return f"{name}_{port}_" if separator else host


def search_path(roots: Iterable[Path], host: str) -> Iterator[Path]:
    """Yield the folders in containerd's order. It reads only the first that exists."""
    spellings = dict.fromkeys((folder_name(host), host, DEFAULT))
    for root in roots:
        for spelling in spellings:
            yield root / spelling
