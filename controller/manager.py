"""Runs the parts together: watches, the election, the workers while leading, and an orderly end."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from controller import clock
from controller.informer.reflector import Reflector
from controller.leader_election import LEASE_NAME
from controller.objects import resources
from controller.objects.well_known import ADMISSION_KEY, CONFIGURATIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from common.logs import Logger
    from controller.informer.cluster_cache import ClusterCache
    from controller.informer.store import Store
    from controller.kubeclient.client import KubeClient
    from controller.leader_election import Leadership
    from controller.metrics import Metrics
    from controller.objects.resources import Kind
    from controller.settings import ControllerSettings
    from controller.status.events import Recorder
    from controller.upstream.prober import Prober
    from controller.workqueue.workers import Workers


# Seconds at the end for posting what was recorded; each Event takes milliseconds.
DRAIN: Final = 2.0


def watches(
    cluster: KubeClient, settings: ControllerSettings, state: ClusterCache, log: Logger, metrics: Metrics
) -> list[Reflector]:
    """A watch for each kind of object that the controller follows, as narrow as the API can make it."""
    namespace = settings.namespace
    followed: list[tuple[Kind, str | None, Store, str]] = [
        (resources.MIRROR, None, state.mirrors, ""),
        *((kind, namespace, store, "") for kind, store in state.children.items()),
        (resources.CLAIM, namespace, state.claims, ""),
        (resources.LEASE, namespace, state.leases, f"metadata.name={LEASE_NAME}"),
    ]
    if not settings.external_webhook_certificate:
        ours = f"metadata.name={CONFIGURATIONS}"
        followed += [
            (resources.MUTATING, None, state.mutating, ours),
            (resources.VALIDATING, None, state.validating, ours),
        ]
    if settings.ca_certificate_bundle:
        bundle = f"metadata.name={settings.ca_certificate_bundle}"
        followed.append((resources.CONFIG_MAP, namespace, state.bundles, bundle))

    return [
        Reflector(
            cluster=cluster,
            kind=kind,
            namespace=place,
            store=store,
            log=log,
            longest_wait=settings.seconds_between_streams,
            on_restart=partial(metrics.watch_restarted, kind.name),
            selector=selector,
        )
        for kind, place, store, selector in followed
    ]


@dataclass(slots=True)
class Manager:
    """One controller process, from its first list to the release of its lease."""

    watches: list[Reflector]
    state: ClusterCache
    leadership: Leadership
    workers: Workers
    prober: Prober
    recorder: Recorder
    metrics: Metrics
    forget: Callable[[], None]  # drops what an earlier term as the leader has remembered

    def not_ready(self) -> list[str]:
        """Kinds of which no list has been read yet."""
        return [watch.kind.name for watch in self.watches if not watch.synced.is_set()]

    async def run(self, stopping: asyncio.Event) -> None:
        """Follows and, while it leads, reconciles, until `stopping` is set."""
        background = [asyncio.create_task(watch.forever()) for watch in self.watches]
        background.append(asyncio.create_task(self.recorder.forever()))
        campaign = asyncio.create_task(self._campaign(stopping))
        end = asyncio.create_task(stopping.wait())
        # A part that ends by itself has crashed: better the whole process starts anew than goes on without it.
        await asyncio.wait([*background, campaign, end], return_when=asyncio.FIRST_COMPLETED)
        crashed = [task for task in (*background, campaign) if task.done() and not stopping.is_set()]
        stopping.set()
        await asyncio.wait([campaign])
        await self.leadership.release()
        # The Events of the last reconciles, for which nobody has to wait: another leads already.
        await self.recorder.last_words(DRAIN)
        for task in (*background, end):
            task.cancel()
        await asyncio.gather(*background, end, return_exceptions=True)
        for task in crashed:
            task.result()

    async def _campaign(self, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            await _until(stopping, self._lead_ready())
            if stopping.is_set():
                return
            self.metrics.leading.set(1)
            await self._lead(stopping)
            self.metrics.leading.set(0)

    async def _lead_ready(self) -> None:
        """Returns when everything has been seen and this process leads."""
        await asyncio.gather(*(watch.synced.wait() for watch in self.watches))
        await self.leadership.acquire()

    def _clock_set(self, seconds: float) -> None:
        """What is due by the wall clock was planned by one that only goes forward: look at everything at once."""
        self.workers.log.warning("clock was set", seconds=round(seconds))
        self.workers.inbox.enqueue(ADMISSION_KEY)
        self.state.enqueue_all()

    async def _lead(self, stopping: asyncio.Event) -> None:
        """Works until asked to stop, finishing what is in hand, or until the lease is lost, dropping it."""
        self.forget()
        self.workers.inbox.enqueue(ADMISSION_KEY)
        self.state.enqueue_all()
        keeping = asyncio.create_task(self.leadership.keep())
        probing = asyncio.create_task(self.prober.run())
        working = asyncio.create_task(self.workers.run(stopping))
        clocks = asyncio.create_task(clock.follow(self._clock_set))
        parts = (keeping, probing, working, clocks)
        await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
        for task in parts:
            if not task.done():
                task.cancel()
        for result in await asyncio.gather(*parts, return_exceptions=True):
            if isinstance(result, Exception):
                raise result


async def _until(stopping: asyncio.Event, what: Coroutine[Any, Any, None]) -> None:
    """Awaits `what`, but not longer than until `stopping` is set."""
    work = asyncio.create_task(what)
    end = asyncio.create_task(stopping.wait())
    await asyncio.wait([work, end], return_when=asyncio.FIRST_COMPLETED)
    for task in (work, end):
        if not task.done():
            task.cancel()
    await asyncio.gather(end, return_exceptions=True)
    if work.done() and not work.cancelled():
        work.result()
