"""Of several mirrors that want one host name on the nodes, the oldest has it; ties are settled by UID."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from common import names, upstream
from common.defaults import dict_at

Json = dict[str, Any]


@dataclass(slots=True)
class Precedence:
    """Which mirrors want which host name."""

    _wanted: dict[str, str] = field(default_factory=dict)
    _claimants: dict[str, dict[str, tuple[str, str]]] = field(default_factory=dict)

    def update(self, mirror: str, raw: Json | None) -> list[str]:
        """Takes in a mirror as it is now (None: deleted). Returns the rivals whose standing may have changed."""
        before, now = self._wanted.pop(mirror, None), masquerade_of(raw)
        rivals: set[str] = set()
        if before is not None and before != now:
            claimants = self._claimants[before]
            claimants.pop(mirror)
            rivals |= claimants.keys()
            if not claimants:
                del self._claimants[before]
        if now is not None and raw is not None:
            self._wanted[mirror] = now
            claimants = self._claimants.setdefault(now, {})
            if mirror not in claimants:
                rivals |= claimants.keys()
            claimants[mirror] = (raw["metadata"]["creationTimestamp"], raw["metadata"]["uid"])
        return sorted(rivals - {mirror})

    def holder(self, mirror: str) -> str | None:
        """The older mirror that has the host name which `mirror` wants; None where `mirror` has it itself."""
        claimants = self._claimants.get(self._wanted.get(mirror, ""), {})
        oldest = min(claimants, key=claimants.__getitem__, default=mirror)
        return None if oldest == mirror else oldest


def masquerade_of(raw: Json | None) -> str | None:
    """Host name that a mirror wants on the nodes; None where it wants none, or cannot say so."""
    spec = dict_at(raw, "spec")
    given = spec.get("masqueradeUrl")
    if given is not None:
        return given if isinstance(given, str) else None
    try:
        return names.implied_masquerade(upstream.as_written(spec["upstreamUrl"]).host)
    except (KeyError, TypeError, ValueError):
        return None
