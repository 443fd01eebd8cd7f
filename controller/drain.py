"""Delete all RegistryMirrors and wait until they are gone: `python -m controller drain`.

The controller deletes a mirror once the nodes are clean, so it must run meanwhile.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from controller import clock
from controller.kubeclient.errors import ClusterError, Conflict, NotFound
from controller.leader_election import LEASE_NAME
from controller.objects.lease import Election
from controller.objects.resources import LEASE, MIRROR

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from common.types import Json
    from controller.kubeclient.client import KubeClient

POLL_INTERVAL: Final = 1.0  # seconds
# Seconds without a leader. A standby takes over within 17: the lease and one retry.
LEADERLESS_MAX: Final = 20.0
# In YAML, because Helm 4 prints the log of a hook with escaped double quotes.
REMOVE_FINALIZERS: Final = "kubectl patch rm {name} --type=merge -p 'metadata: {{finalizers: null}}'"


@dataclass(slots=True)
class Drain:
    """Deletion of all mirrors. `report` prints one line."""

    cluster: KubeClient
    namespace: str
    report: Callable[[str], None]
    election: Election = field(default_factory=lambda: Election("drain"))
    _left: tuple[str, ...] = ()

    async def run(self, seconds: float) -> bool:
        """Return True once no mirror is left; False after `seconds`, or if no controller leads."""
        deadline, leader_seen = clock.since_boot() + seconds, clock.since_boot()
        while left := await self._delete():
            now = clock.since_boot()
            leader_seen = now if await self._is_led(now) else leader_seen
            problem = _problem(seconds if now >= deadline else None, now - leader_seen, self.namespace)
            if problem:
                self._report_left(left, problem)
                return False
            await asyncio.sleep(POLL_INTERVAL)
        self.report("No RegistryMirror is left.")
        return True

    async def _delete(self) -> list[Json]:
        """Delete the mirrors that are not yet being deleted, and return all mirrors."""
        try:
            mirrors = [each async for page, _ in self.cluster.pages(MIRROR, None) for each in page]
        except NotFound:  # no CustomResourceDefinition
            mirrors = []
        for each in mirrors:
            if "deletionTimestamp" not in each["metadata"]:
                await self._delete_one(each)
        names = tuple(each["metadata"]["name"] for each in mirrors)
        for name in self._left:
            if name not in names:
                self.report(f"Deleted RegistryMirror {name}.")
        if names and names != self._left:
            self.report(f"Waiting for the nodes to be cleaned of {len(names)} RegistryMirrors: {', '.join(names)}.")
        self._left = names
        return mirrors

    async def _delete_one(self, mirror: Json) -> None:
        try:
            await self.cluster.delete(MIRROR, None, mirror)
        except Conflict:
            return  # its status changed; the next round deletes it
        self.report(f"Requested the deletion of RegistryMirror {mirror['metadata']['name']}.")

    async def _is_led(self, now: float) -> bool:
        """Return True if a controller holds the lease."""
        try:
            lease = await self.cluster.get(LEASE, self.namespace, LEASE_NAME)
        except ClusterError:
            return False
        self.election.observe(lease, now)
        return self.election.free_at() > now

    def _report_left(self, mirrors: list[Json], problem: str) -> None:
        for line in (problem, *_ways_out(mirrors)):
            self.report(line)


def _problem(waited: float | None, leaderless: float, namespace: str) -> str | None:
    """Return what stops the drain and what to do, or None."""
    if leaderless >= LEADERLESS_MAX:
        return (
            "No controller runs, so the nodes cannot be cleaned. Start it, then run this again: kubectl scale"
            f" deployment/registrymirror-controller --replicas=2 -n {namespace}"
        )
    if waited is not None:
        return f"RegistryMirrors are left after {waited:.0f} s. Run this again, or read `kubectl describe rm`."
    return None


def _ways_out(mirrors: list[Json]) -> Iterator[str]:
    yield "To delete a RegistryMirror without cleaning the nodes:"
    yield from (f"  {REMOVE_FINALIZERS.format(name=each['metadata']['name'])}" for each in mirrors)
