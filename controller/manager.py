"""Run the watches, the leader election and, in the leader, the workers."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from common import names
from controller.certificates.ca_bundle import bundles_in
from controller.informer.reflector import Reflector
from controller.leader_election import LEASE_NAME
from controller.objects import resources
from controller.objects.well_known import ADMISSION_KEY, CONFIGURATIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine

    from common.logs import Logger
    from controller.caches.cache_poller import CachePoller
    from controller.informer.cluster_cache import ClusterCache
    from controller.informer.store import Store
    from controller.kubeclient.client import KubeClient
    from controller.leader_election import Leadership
    from controller.metrics import Metrics
    from controller.objects.resources import Kind
    from controller.settings import ControllerSettings
    from controller.status.events import Recorder
    from controller.workqueue.workers import Workers


# Seconds between two reconciles of every key, in case the wall clock was set: certificates expire by it, while workers
# wait by the monotonic clock.
RESYNC_INTERVAL: Final = 3600.0


def reflectors(
    cluster: KubeClient, settings: ControllerSettings, state: ClusterCache, log: Logger, metrics: Metrics
) -> list[Reflector]:
    """Return a reflector for each kind of object, limited to the namespace and the names that are needed."""

    def reflector(kind: Kind, store: Store, **options: Any) -> Reflector:
        return Reflector(
            cluster=cluster,
            kind=kind,
            store=store,
            log=log,
            longest_wait=settings.seconds_between_streams,
            on_restart=partial(metrics.watch_restarted, kind.name),
            **{"namespace": settings.namespace, **options},
        )

    pod_labels = names.selector({names.APP_LABEL: names.APP, names.COMPONENT_LABEL: names.REGISTRY})
    found = [
        reflector(resources.MIRROR, state.mirrors, namespace=None),
        *(reflector(kind, store) for kind, store in state.children.items()),
        reflector(resources.CLAIM, state.claims),
        reflector(resources.POD, state.cache_pods, labels=pod_labels),
        reflector(resources.LEASE, state.leases, selector=f"metadata.name={LEASE_NAME}"),
    ]
    if not settings.external_webhook_certificate:
        stores = ((resources.MUTATING, state.mutating), (resources.VALIDATING, state.validating))
        selector = f"metadata.name={CONFIGURATIONS}"
        found += [reflector(kind, store, namespace=None, selector=selector) for kind, store in stores]
    if settings.ca_certificate_bundle:
        selector = f"metadata.name={settings.ca_certificate_bundle}"
        found.append(reflector(resources.CONFIG_MAP, state.bundles, selector=selector))
    return found


@dataclass(slots=True)
class Manager:
    """Run one controller process from its first list to the release of the lease."""

    reflectors: list[Reflector]
    state: ClusterCache
    leadership: Leadership
    workers: Workers
    caches: CachePoller
    recorder: Recorder
    metrics: Metrics
    forget: Callable[[], None]  # drops what this process remembers of an earlier term as leader

    def not_ready(self) -> list[str]:
        """Return what this process or the installation waits for.

        Without a caBundle the API server refuses each mirror, although the pods of the webhook may be ready.
        """
        kinds = [f"{each.kind.name} not listed yet" for each in self.reflectors if not each.synced.is_set()]
        stores = (self.state.mutating, self.state.validating)
        published = all(bundle for store in stores for bundle in bundles_in(store))
        return kinds if published else [*kinds, "caBundle not published yet"]

    async def run(self, stopping: asyncio.Event) -> None:
        """Watch, and reconcile while leading, until `stopping` is set."""
        background = [asyncio.create_task(each.run()) for each in self.reflectors]
        background.append(asyncio.create_task(self.recorder.run()))
        elections = asyncio.create_task(self._lead_when_elected(stopping))
        end = asyncio.create_task(stopping.wait())
        # A task that ends by itself has crashed; then the whole process ends and the kubelet restarts it.
        await asyncio.wait([*background, elections, end], return_when=asyncio.FIRST_COMPLETED)
        crashed = [task for task in (*background, elections) if task.done() and not stopping.is_set()]
        stopping.set()
        await asyncio.wait([elections])
        await self.leadership.release()
        for task in (*background, end):
            task.cancel()
        await asyncio.gather(*background, end, return_exceptions=True)
        for task in crashed:
            task.result()

    async def _lead_when_elected(self, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            await _until(stopping, self._wait_for_election())
            if stopping.is_set():
                return
            await self._lead(stopping)

    async def _wait_for_election(self) -> None:
        """Return once all kinds are listed and this process leads."""
        await asyncio.gather(*(each.synced.wait() for each in self.reflectors))
        await self.leadership.acquire()

    async def _lead(self, stopping: asyncio.Event) -> None:
        """Work until `stopping` is set, and finish; or until the lease is lost, and cancel."""
        self.forget()
        parts = (self.leadership.keep(), self.caches.run(), self.workers.run(stopping), self._resync())
        tasks = [asyncio.create_task(each) for each in parts]
        await _wait_for_first(tasks)

    async def _resync(self) -> None:
        """Enqueue all keys now and after each RESYNC_INTERVAL."""
        while True:
            self.workers.keys.enqueue(ADMISSION_KEY)
            self.state.enqueue_all()
            await asyncio.sleep(RESYNC_INTERVAL)


async def _until(stopping: asyncio.Event, waiting: Coroutine[Any, Any, None]) -> None:
    """Await `waiting`, but cancel it once `stopping` is set."""
    await _wait_for_first([asyncio.create_task(waiting), asyncio.create_task(stopping.wait())])


async def _wait_for_first(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Wait until a task ends, and cancel the others. Raise the first error."""
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, Exception):
            raise result
