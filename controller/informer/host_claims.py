"""Of several mirrors that want one thing on the nodes, the oldest has it; ties are settled by UID.

Two things are wanted: the host name under which nodes reach a mirror, and the name that images of its upstream begin
with, for which containerd has one hosts.toml. A mirror that is being deleted keeps what it has until it is gone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from common import names, upstream
from common.defaults import dict_at

if TYPE_CHECKING:
    from collections.abc import Callable

    from common.types import Json


def masquerade_of(obj: Json | None) -> str | None:
    """Host name that a mirror wants on the nodes; None where it wants none, or cannot say so."""
    spec = dict_at(obj, "spec")
    given = spec.get("masqueradeUrl")
    written = spec.get("upstreamUrl") if given is None else None
    try:
        implied = names.default_masquerade(upstream.parse_literal(written).host) if isinstance(written, str) else None
    except ValueError:
        implied = None
    return (given or None) if isinstance(given, str) else implied


def image_host_of(obj: Json | None) -> str | None:
    """Name that images of a mirror's upstream begin with; None where the mirror cannot say so."""
    written = dict_at(obj, "spec").get("upstreamUrl")
    try:
        return upstream.parse(written).image_host if isinstance(written, str) else None
    except ValueError:
        return None


@dataclass(slots=True)
class HostClaims:
    """Which mirrors want which name; `wish` says what a mirror, as it is stored, wants."""

    wish: Callable[[Json | None], str | None] = masquerade_of
    _wanted: dict[str, str] = field(default_factory=dict)
    _claimants: dict[str, dict[str, tuple[str, str]]] = field(default_factory=dict)

    def update(self, mirror: str, obj: Json | None) -> list[str]:
        """Takes in a mirror as it is now (None: deleted). Returns the rivals whose standing may have changed."""
        before, now = self._wanted.pop(mirror, None), self.wish(obj)
        rivals: set[str] = set()
        if before is not None and before != now:
            claimants = self._claimants[before]
            claimants.pop(mirror)
            rivals |= claimants.keys()
            if not claimants:
                del self._claimants[before]
        if now is not None and obj is not None:
            self._wanted[mirror] = now
            claimants = self._claimants.setdefault(now, {})
            age = obj["metadata"]["creationTimestamp"], obj["metadata"]["uid"]
            if claimants.get(mirror) != age:  # new here, or made again under its name while no watch saw it go
                rivals |= claimants.keys()
            claimants[mirror] = age
        return sorted(rivals - {mirror})

    def holder(self, mirror: str) -> str | None:
        """The older mirror that has the name which `mirror` wants; None where `mirror` has it itself."""
        oldest = next(iter(self.claimants(mirror)), mirror)
        return None if oldest == mirror else oldest

    def claimants(self, mirror: str) -> list[str]:
        """All mirrors that want what `mirror` wants, itself among them, the oldest first."""
        claimants = self._claimants.get(self._wanted.get(mirror, ""), {})
        return sorted(claimants, key=claimants.__getitem__)
