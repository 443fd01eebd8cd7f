"""Keeps a store like the cluster, in three stages, each of which can be tried alone.

`forever` never ends: whatever breaks the inner stages, it waits and starts again. `list_then_watch` ends when the
resource version is too old. `stream` is one watch, which the server ends now and then.
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

# Seconds before the first new try; each further one waits twice as long.
FIRST_WAIT: Final = 0.1
# Seconds, where SECONDS_BETWEEN_STREAMS allows so many: an API server that comes back finds us soon, and a dozen
# watches that knock every few seconds are nothing to it. What a person must mend first waits the whole setting.
LONGEST_WAIT_FOR_ANSWER: Final = 3.0
# Seconds. A watch that ends sooner and has told nothing was ended by a proxy, say, that knows no watches: what there is
# is listed again, ever more rarely. Those of the API server last for minutes.
SHORTEST_STREAM: Final = 1.0


@dataclass(slots=True)
class Reflector:
    """One kind, kept in one store.

    `selector` is a field selector, `longest_wait` is in seconds; `synced` is set once a first list has been read.
    """

    cluster: KubeClient
    kind: Kind
    namespace: str | None
    store: Store
    log: Logger
    longest_wait: float
    on_restart: Callable[[str], None]
    selector: str = ""
    synced: asyncio.Event = field(default_factory=asyncio.Event)
    _wait: float = FIRST_WAIT
    _lost: bool = False

    async def forever(self) -> None:
        """Lists and watches until cancelled. Says once that it lost the cluster, and once that it is back."""
        while True:
            try:
                await self.list_then_watch()
            except Gone:
                self.on_restart("expired")
                await asyncio.sleep(FIRST_WAIT)
            except ClusterError as error:
                self.on_restart("lost")
                self._tell_lost(error)
                await asyncio.sleep(self._next_wait(error))

    async def list_then_watch(self) -> None:
        """Lists, then follows stream after stream. Raises Gone, or ClusterError, when that needs a new list."""
        version = await self._list()
        self.synced.set()
        self._tell_back()
        while True:
            began, before = time.monotonic(), version
            version = await self.stream(version)
            if version == before and time.monotonic() - began < SHORTEST_STREAM:
                raise ClusterError("ended at once and without a word, as by a proxy that lets no watch through")
            self._wait = FIRST_WAIT
            await asyncio.sleep(FIRST_WAIT)  # one that brings something and ends is not to be asked without a pause

    async def stream(self, version: str) -> str:
        """Follows one watch to its end. Returns the resource version to go on from."""
        async with self.cluster.watch(self.kind, self.namespace, version, self.selector) as events:
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
        """Takes in all there is. Returns the resource version of it."""
        newest = self.store.newest
        names: set[str] = set()
        latest = ""
        async for items, latest in self.cluster.pages(self.kind, self.namespace, self.selector):
            if int(latest) < newest:
                self.store.distrust()
                newest = 0  # once for all pages
            names |= self.store.take(items)
        self.store.settle(names, int(latest))
        return latest

    def _next_wait(self, error: ClusterError) -> float:
        wait = self._wait
        bound = LONGEST_WAIT_FOR_ANSWER if isinstance(error, Unavailable) else self.longest_wait
        self._wait = min(wait * 2, bound, self.longest_wait)
        return wait

    def _tell_lost(self, error: ClusterError) -> None:
        if not self._lost:
            self.log.warning("watch lost", kind=self.kind.name, why=_why(error, self.kind))
        self._lost = True

    def _tell_back(self) -> None:
        if self._lost:
            self.log.info("watch restored", kind=self.kind.name, objects=len(self.store))
        self._lost = False


def _why(error: ClusterError, kind: Kind) -> str:
    if isinstance(error, NotFound):
        return f"{kind.plural} are not served: is the CustomResourceDefinition installed? (kubectl apply -k deploy/)"
    if isinstance(error, Unavailable) or not error.status:
        return str(error)
    return f"{error.reason or error.status}: {error}"
