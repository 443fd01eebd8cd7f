"""Decide which of several mirrors gets a host name on the nodes: the oldest, then the one with the smaller UID.

Mirrors claim three kinds of host names: their masquerade host, the image hosts of their upstreams, each of which has
one hosts.toml for containerd, and the hosts of their upstreams. A mirror being deleted keeps its claims until it is
gone.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from common import masquerade, upstream
from common.defaults import dict_at
from common.image_hosts import DEFAULT_PORTS
from common.upstream_entries import upstream_entries

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from common.types import Json
    from common.upstream import Upstream


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


def masquerades_of(obj: Json | None) -> tuple[str, ...]:
    """Return the masquerade host of a mirror, if it has one."""
    found = masquerade_of(obj)
    return () if found is None else (found,)


def image_hosts_of(obj: Json | None) -> tuple[str, ...]:
    """Return the hosts that image names of the upstreams start with, without those of invalid ones."""
    return tuple(dict.fromkeys(each.image_host for each in _upstreams_of(obj)))


def registry_hosts_of(obj: Json | None) -> tuple[str, ...]:
    """Return the host names of the upstreams, each with a colon if its registry is not at the port of a mirror."""
    upstreams = [(each, "" if each.port_in_use == DEFAULT_PORTS["https"] else ":") for each in _upstreams_of(obj)]
    return tuple(dict.fromkeys(f"{name}{mark}" for each, mark in upstreams for name in sorted(each.own_names)))


def _upstreams_of(obj: Json | None) -> Iterator[Upstream]:
    """Yield the upstreams, without invalid ones."""
    for _, entry in upstream_entries(dict_at(obj, "spec")):
        url = entry.get("upstreamUrl")
        if isinstance(url, str):
            with suppress(ValueError):
                yield upstream.parse(url)


@dataclass(slots=True)
class HostClaims:
    """Hold the claims of all mirrors. `hosts_of` returns the hosts that a stored mirror claims."""

    hosts_of: Callable[[Json | None], tuple[str, ...]] = masquerades_of
    _hosts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _claimants: dict[str, dict[str, tuple[str, str]]] = field(default_factory=dict)

    def update(self, mirror: str, obj: Json | None) -> list[str]:
        """Update the claims of a mirror (None: deleted). Return the other mirrors whose claims may be affected."""
        before, now = self._hosts.pop(mirror, ()), self.hosts_of(obj)
        rivals: set[str] = set()
        for host in set(before) - set(now):
            rivals |= self._withdraw(mirror, host)
        if now and obj is not None:
            self._hosts[mirror] = now
            age = obj["metadata"]["creationTimestamp"], obj["metadata"]["uid"]
            for host in now:
                rivals |= self._claim(mirror, host, age)
        return sorted(rivals - {mirror})

    def holder(self, mirror: str, entitled: Collection[str] = ()) -> str | None:
        """Return the older mirror that holds the only host claimed by `mirror`, or None if that is `mirror`.

        If there are `entitled` mirrors, the others do not count.
        """
        claimants = [each for host in self.hosts(mirror) for each in self.claimants(host)]
        oldest = next((each for each in claimants if not entitled or each in entitled), mirror)
        return None if oldest == mirror else oldest

    def hosts(self, mirror: str) -> tuple[str, ...]:
        """Return the hosts that a mirror claims."""
        return self._hosts.get(mirror, ())

    def claimants(self, host: str) -> list[str]:
        """Return all mirrors that claim a host, the oldest first."""
        claimants = self._claimants.get(host, {})
        return sorted(claimants, key=claimants.__getitem__)

    def _withdraw(self, mirror: str, host: str) -> set[str]:
        claimants = self._claimants[host]
        del claimants[mirror]
        if not claimants:
            del self._claimants[host]
        return set(claimants)

    def _claim(self, mirror: str, host: str, age: tuple[str, str]) -> set[str]:
        claimants = self._claimants.setdefault(host, {})
        is_known = claimants.get(mirror) == age  # else new, or recreated while no watch ran
        claimants[mirror] = age
        return set() if is_known else set(claimants)
