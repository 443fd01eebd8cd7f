"""Read the registries of a mirror from its Service: the hosts in image names, and the upstream of each.

The agent watches that Service anyway, so a change needs no new pod and no further watch.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from common.image_hosts import host_name, spellings

if TYPE_CHECKING:
    from collections.abc import Iterable

_HOST_MAX: Final = 255  # bytes of a folder's name


@dataclass(frozen=True, slots=True)
class Registry:
    """One upstream. `host` is that of image names; empty if another mirror's hosts.toml has it."""

    host: str
    url: str

    @property
    def image_hosts(self) -> tuple[str, ...]:
        """Return each host in image names whose pulls use the mirror, `host` first."""
        return spellings(self.host, urlsplit(self.url).scheme) if self.host else ()

    def is_named(self, masquerade: str) -> bool:
        """Return True if the mirror has the upstream's own name, so that the hosts entry hides the upstream."""
        return urlsplit(self.url).hostname == masquerade

    def fallback_of(self, image_host: str, masquerade: str) -> str:
        """Return the URL that containerd would ask for images of this host without the mirror.

        It is the upstream's URL if that name leads to the mirror.
        """
        is_own_name = image_host != self.host and host_name(image_host) != masquerade
        return f"{urlsplit(self.url).scheme}://{image_host}" if is_own_name else self.url


def parse(text: object) -> tuple[Registry, ...] | None:
    """Return the registries in the annotation of a Service; None for a value that the controller does not write."""
    try:
        entries = json.loads(text) if isinstance(text, str) else None
        return tuple(_registry(each["host"], each["url"]) for each in entries or ()) or None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def hosts(registries: Iterable[Registry]) -> str:
    """Return the hosts of image names for a message."""
    return ", ".join(each.host for each in registries if each.host)


def _registry(host: str, url: str) -> Registry:
    if host and (not _is_plain(host) or len(host) > _HOST_MAX or "/" in host or host.startswith((".", "_"))):
        raise ValueError("expected host or host:port, as in image names")
    parts = urlsplit(url if _is_plain(url) else "")
    is_host_alone = parts.netloc and "@" not in parts.netloc and url.rstrip("/") == f"{parts.scheme}://{parts.netloc}"
    if parts.scheme not in ("https", "http") or not is_host_alone or parts.port == 0:
        raise ValueError("expected https://host[:port] or http://host[:port]")
    return Registry(host or "", url)


def _is_plain(value: object) -> bool:
    return isinstance(value, str) and value.isascii() and value.isprintable() and " " not in value
