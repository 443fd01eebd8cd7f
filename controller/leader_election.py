"""Acquire, renew and release the Lease of the leader election."""

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
    """Take part in the leader election. `namespace` is the Lease's."""

    cluster: KubeClient
    namespace: str
    election: Election
    log: Logger
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _unreachable: bool = False

    def leads(self) -> bool:
        """Return True if this process holds the lease by the monotonic clock."""
        return self.election.leads(clock.since_boot())

    def check(self) -> None:
        """Raise NotLeader unless this process leads."""
        if not self.leads():
            raise NotLeader("not sent: this process does not hold the lease")

    def notice(self, *_: object) -> None:
        """Wake a candidate, as the lease has changed."""
        self._changed.set()

    async def acquire(self) -> None:
        """Return once this process leads."""
        logged = False
        while not await self._try():
            if not logged:
                self.log.info("waiting for leader election", lease=f"{self.namespace}/{LEASE_NAME}")
                logged = True
            await self._pause()
        self.log.info("became leader", identity=self.election.identity)

    async def keep(self) -> None:
        """Renew the lease until it is lost."""
        renewed = True
        while self.leads():
            await asyncio.sleep(RETRY_PERIOD if renewed else RETRY_AFTER_FAILURE)
            renewed = await self._try()
        self.log.warning("lost leader election", identity=self.election.identity)

    async def release(self) -> None:
        """Release the lease if this process holds it, so that the next leader does not wait for its expiry."""
        if not self.leads():
            return
        self.election.lost()
        try:
            try:
                await self._release()
            except Conflict:  # the last renewal arrived after it was cancelled
                await self._release()
        except ClusterError as error:
            self.log.warning("lease not released", why=str(error), others_wait_seconds=LEASE_DURATION)

    async def _release(self) -> None:
        lease = await self.cluster.get(LEASE, self.namespace, LEASE_NAME)
        if lease["spec"].get("holderIdentity") == self.election.identity:
            await self._write(lease, release=True)

    async def _try(self) -> bool:
        """Read the lease, and write it if it is free or held by this process. Return True if it is held now."""
        self._changed.clear()  # a change during the attempt ends the next pause at once
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
            self._log_unreachable(error)
            return False
        self.election.renewed(started)
        if self._unreachable:
            self.log.info("lease reachable")
        self._unreachable = False
        return True

    def _log_unreachable(self, error: ClusterError) -> None:
        if not self._unreachable:
            left = max(self.election.held_until() - clock.since_boot(), 0.0)
            self.log.warning("lease unreachable", why=str(error), held_for_seconds=round(left, 1))
        self._unreachable = True

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
        # After a failed attempt on a free lease (no response, no right, a faster candidate): a full period.
        free_in = self.election.free_at() - clock.since_boot()
        await clock.wait_for_event(self._changed, min(RETRY_PERIOD, free_in) if free_in > 0 else RETRY_PERIOD)
