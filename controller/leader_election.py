"""Holds the lease: takes it when it is free, renews it, gives it up at the end, and knows at each moment who leads."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from controller import clock
from controller.kubeclient.errors import ClusterError, Conflict, NotFound, NotLeader
from controller.objects.lease import LEASE_DURATION, RETRY_AFTER_FAILURE, RETRY_PERIOD, Election
from controller.objects.resources import LEASE

if TYPE_CHECKING:
    from common.logs import Logger
    from common.types import Json
    from controller.kubeclient.client import KubeClient

LEASE_NAME = "registrymirror-controller"


@dataclass(slots=True)
class Leadership:
    """One process's part in the election. `namespace` is the one that the lease is in."""

    cluster: KubeClient
    namespace: str
    election: Election
    log: Logger
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _unreachable: bool = False

    def check(self) -> None:
        """Raise NotLeader unless this process holds the lease by the monotonic clock."""
        if not self.election.leads(clock.since_boot()):
            raise NotLeader("not sent: this process does not hold the lease")

    def notice(self, *_: object) -> None:
        """Says that the lease was seen to change, so that a candidate need not wait for its next look."""
        self._changed.set()

    async def acquire(self) -> None:
        """Returns when this process leads."""
        told = False
        while not await self._looked():
            if not told:
                self.log.info("standing by", lease=f"{self.namespace}/{LEASE_NAME}")
                told = True
            await self._pause()
        self.log.info("leading", identity=self.election.identity)

    async def _looked(self) -> bool:
        """One try; a change of the lease that comes in the midst of it is not forgotten by the pause that follows."""
        self._changed.clear()
        return await self._try()

    async def keep(self) -> None:
        """Renews until the lease is lost; returns then."""
        renewed = True
        while self.election.leads(clock.since_boot()):
            await asyncio.sleep(RETRY_PERIOD if renewed else RETRY_AFTER_FAILURE)
            renewed = await self._try()
        self.log.warning("lease lost", identity=self.election.identity)

    async def release(self) -> None:
        """Gives the lease up, if we hold it, so that another candidate need not wait for its end."""
        if not self.election.leads(clock.since_boot()):
            return
        self.election.lost()
        try:
            try:
                await self._give_up()
            except Conflict:  # a renewal that was still on its way when it was cancelled; there was but one
                await self._give_up()
        except ClusterError as error:
            self.log.warning("lease not released", why=str(error), others_wait_seconds=LEASE_DURATION)

    async def _give_up(self) -> None:
        lease = await self.cluster.get(LEASE, self.namespace, LEASE_NAME)
        if lease["spec"].get("holderIdentity") == self.election.identity:
            await self._write(lease, release=True)

    async def _try(self) -> bool:
        """One look, and a write where the lease is free or ours."""
        started = clock.since_boot()
        try:
            lease = await self._read()
            self.election.observe(lease, clock.since_boot())
            if clock.since_boot() < self.election.free_at():
                self.election.lost()
                return False
            await self._write(lease)
        except Conflict:
            return False
        except ClusterError as error:
            self._tell_unreachable(error)
            return False
        self.election.renewed(started)
        self._tell_reachable()
        return True

    def _tell_unreachable(self, error: ClusterError) -> None:
        if not self._unreachable:
            self.log.warning("lease unreachable", why=str(error), held_for_seconds=self._left())
        self._unreachable = True

    def _tell_reachable(self) -> None:
        if self._unreachable:
            self.log.info("lease reachable")
        self._unreachable = False

    async def _read(self) -> Json | None:
        try:
            return await self.cluster.get(LEASE, self.namespace, LEASE_NAME)
        except NotFound:
            return None

    async def _write(self, lease: Json | None, *, release: bool = False) -> None:
        spec = self.election.record(lease, datetime.now(UTC), release=release)
        if lease is None:
            body = {"apiVersion": LEASE.api, "kind": LEASE.name, "metadata": {"name": LEASE_NAME}, "spec": spec}
            await self.cluster.create(LEASE, self.namespace, body)
        else:
            await self.cluster.replace(LEASE, self.namespace, LEASE_NAME, lease | {"spec": spec})

    async def _pause(self) -> None:
        """Waits for a change of the lease, at most until the next look is due."""
        # A lease that is free and was not to be had (no answer, no right, another was faster): a full period.
        free_in = self.election.free_at() - clock.since_boot()
        await clock.wait_for_event(self._changed, min(RETRY_PERIOD, free_in) if free_in > 0 else RETRY_PERIOD)

    def _left(self) -> float:
        return round(max(self.election.held_until() - clock.since_boot(), 0.0), 1)
