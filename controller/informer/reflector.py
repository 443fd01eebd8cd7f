"""Keep a store in sync with the cluster by list and watch, in three nested stages.

`run` restarts the inner stages after any error. `list_then_watch` ends when the resource version is too old. `stream`
is one watch, which the API server ends after some minutes.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from controller.kubeclient.errors import ClusterError, Gone, NotFound, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from common.logs import Logger
    from controller.informer.store import Store
    from controller.kubeclient.client import KubeClient
    from controller.objects.resources import Kind

# Seconds before the first retry; each further one doubles.
FIRST_WAIT: Final = 0.1
# Longest wait in seconds for an API server that does not respond. Other errors need an administrator, and wait up to
# SECONDS_BETWEEN_STREAMS. That setting bounds both.
LONGEST_WAIT_UNAVAILABLE: Final = 3.0
# Seconds. The API server's watches last for minutes. A shorter one without events was cut by a proxy, for example.
SHORTEST_STREAM: Final = 1.0


@dataclass(slots=True)
class Reflector:
    """Keep the objects of one kind in one store.

    `selector` is a field selector, `labels` a label selector. `longest_wait` is in seconds. `synced` is set after the
    first list.
    """

    cluster: KubeClient
    kind: Kind
    namespace: str | None
    store: Store
    log: Logger
    longest_wait: float
    on_restart: Callable[[str], None]
    selector: str = ""
    labels: str = ""
    synced: asyncio.Event = field(default_factory=asyncio.Event)
    _wait: float = FIRST_WAIT
    _lost: bool = False

    async def run(self) -> None:
        """List and watch until cancelled. Log a lost and a restored watch once."""
        while True:
            try:
                await self.list_then_watch()
            except Gone:
                self.on_restart("expired")
                await asyncio.sleep(FIRST_WAIT)
            except ClusterError as error:
                self.on_restart("lost")
                self._log_lost(error)
                await asyncio.sleep(self._next_wait(error))

    async def list_then_watch(self) -> None:
        """List, then watch stream after stream. Raises Gone or ClusterError to request a new list."""
        version = await self._list()
        self.synced.set()
        if self._lost:
            self.log.info("watch restored", kind=self.kind.name, objects=len(self.store))
        self._lost = False
        while True:
            began, before = time.monotonic(), version
            version = await self.stream(version)
            if version == before and time.monotonic() - began < SHORTEST_STREAM:
                raise ClusterError("the watch ended at once; check for a proxy that does not support watches")
            self._wait = FIRST_WAIT
            await asyncio.sleep(FIRST_WAIT)  # limits the rate of short streams

    async def stream(self, version: str) -> str:
        """Follow one watch to its end. Return the resource version to continue from."""
        async with self.cluster.watch(self.kind, self.namespace, version, self.selector, self.labels) as events:
            async for event in events:
                self._wait = FIRST_WAIT
                current = event["object"]
                version = current["metadata"]["resourceVersion"]
                if event["type"] in ("ADDED", "MODIFIED"):
                    self.store.put(current)
                elif event["type"] == "DELETED":
                    self.store.remove(current["metadata"]["name"], int(version))
        return version

    async def _list(self) -> str:
        """List all objects into the store. Return the list's resource version."""
        newest = self.store.newest
        names: set[str] = set()
        latest = ""
        async for items, latest in self.cluster.pages(self.kind, self.namespace, self.selector, self.labels):
            if int(latest) < newest:
                self.store.reset_versions()
                newest = 0  # once for all pages
            names |= self.store.put_page(items)
        self.store.finish_list(names, int(latest))
        return latest

    def _next_wait(self, error: ClusterError) -> float:
        wait = self._wait
        bound = LONGEST_WAIT_UNAVAILABLE if isinstance(error, Unavailable) else self.longest_wait
        self._wait = min(wait * 2, bound, self.longest_wait)
        return wait

    def _log_lost(self, error: ClusterError) -> None:
        if not self._lost:
            self.log.warning("watch lost", kind=self.kind.name, why=_why(error, self.kind))
        self._lost = True


def _why(error: ClusterError, kind: Kind) -> str:
    if isinstance(error, NotFound):
        return f"the API server has no {kind.plural}; install the CustomResourceDefinition: kubectl apply -k deploy/"
    if isinstance(error, Unavailable) or not error.status:
        return str(error)
    return f"{error.reason or error.status}: {error}"
