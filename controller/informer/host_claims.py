"""Decide which of several mirrors gets a host name on the nodes: the oldest, then the one with the smaller UID.

Mirrors claim two host names: their masquerade host, and the image host of their upstream, for which containerd has one
hosts.toml. A mirror being deleted keeps its claims until it is gone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from common import masquerade, upstream
from common.defaults import dict_at

if TYPE_CHECKING:
    from collections.abc import Callable

    from common.types import Json


def masquerade_of(obj: Json | None) -> str | None:
    """Return the masquerade host of a mirror, or None if its spec has no valid one."""
    spec = dict_at(obj, "spec")
    given = spec.get("masqueradeUrl")
    url = spec.get("upstreamUrl") if given is None else None
    try:
        implied = masquerade.default_of(url) if isinstance(url, str) else None
    except ValueError:
        implied = None
    return (given or None) if isinstance(given, str) else implied


def image_host_of(obj: Json | None) -> str | None:
    """Return the host that image names of the upstream start with, or None for an invalid spec."""
    url = dict_at(obj, "spec").get("upstreamUrl")
    try:
        return upstream.parse(url).image_host if isinstance(url, str) else None
    except ValueError:
        return None


@dataclass(slots=True)
class HostClaims:
    """Hold the claims of all mirrors. `host_of` returns the host that a stored mirror claims."""

    host_of: Callable[[Json | None], str | None] = masquerade_of
    _hosts: dict[str, str] = field(default_factory=dict)
    _claimants: dict[str, dict[str, tuple[str, str]]] = field(default_factory=dict)

    def update(self, mirror: str, obj: Json | None) -> list[str]:
        """Update the claim of a mirror (None: deleted). Return the other mirrors whose claims may be affected."""
        before, now = self._hosts.pop(mirror, None), self.host_of(obj)
        rivals: set[str] = set()
        if before is not None and before != now:
            claimants = self._claimants[before]
            claimants.pop(mirror)
            rivals |= claimants.keys()
            if not claimants:
                del self._claimants[before]
        if now is not None and obj is not None:
            self._hosts[mirror] = now
            claimants = self._claimants.setdefault(now, {})
            age = obj["metadata"]["creationTimestamp"], obj["metadata"]["uid"]
            if claimants.get(mirror) != age:  # new, or recreated while no watch ran
                rivals |= claimants.keys()
            claimants[mirror] = age
        return sorted(rivals - {mirror})

    def holder(self, mirror: str) -> str | None:
        """Return the older mirror that holds the host claimed by `mirror`, or None if that is `mirror`."""
        oldest = next(iter(self.claimants(mirror)), mirror)
        return None if oldest == mirror else oldest

    def claimants(self, mirror: str) -> list[str]:
        """Return all mirrors that claim the same host as `mirror`, the oldest first."""
        claimants = self._claimants.get(self._hosts.get(mirror, ""), {})
        return sorted(claimants, key=claimants.__getitem__)
