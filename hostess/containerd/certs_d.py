"""Where containerd and docker look for the settings of a host, and in which order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

DEFAULT: Final = "_default"
HOSTS_TOML: Final = "hosts.toml"


def folder_name(host: str) -> str:
    """The spelling of `host[:port]` that containerd looks for first: `host_port_`."""
    name, separator, port = host.rpartition(":")
    # An IPv6 address without a port has colons too, and stands in brackets.
    return f"{name}_{port}_" if separator and port.isdecimal() else host


def looked_at(roots: Iterable[Path], host: str) -> Iterator[Path]:
    """The folders in containerd's order: the first that exists is the only one it reads."""
    spellings = dict.fromkeys((folder_name(host), host, DEFAULT))
    for root in roots:
        for spelling in spellings:
            yield root / spelling
