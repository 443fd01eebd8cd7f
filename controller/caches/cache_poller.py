"""Ask all cache pods for their status in rounds, and enqueue mirrors whose upstream answers otherwise."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from common import names
from common.defaults import dict_at
from controller import clock
from controller.caches.cache_status import parse_status, verdict_of
from controller.pod_http import CONCURRENCY

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from common.logs import Logger
    from common.types import Json
    from controller.caches.cache_status import UpstreamAnswer
    from controller.informer.store import Store
    from controller.model.mirror import Mirror
    from controller.model.observation import Verdict
    from controller.pod_http import Fetch

    Answers = dict[str, tuple[UpstreamAnswer, ...] | None]  # by pod

# Seconds between two rounds. With many pods a round is as long as PACE for each of them: 50 requests a second.
INTERVAL: Final = 10.0
PACE: Final = 0.02
# Seconds between two requests to a pod that changes again and again.
SHORTEST_INTERVAL: Final = 0.5


@dataclass(slots=True)
class CachePoller:
    """The cache pods of all mirrors, and their last answers."""

    pods: Store
    enqueue: Callable[[str], None]
    fetch: Fetch
    log: Logger
    _answers: dict[str, Answers] = field(default_factory=dict)
    _changed: set[str] = field(default_factory=set)
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _is_complete: bool = False

    def __post_init__(self) -> None:
        self.pods.listen(self._pod_changed)

    def verdict(self, mirror: Mirror) -> Verdict | None:
        """Return what the cache pods say of a mirror's upstream; None before the first round."""
        answers = self._answers.get(mirror.name)
        if answers is None and not self._is_complete:
            return None
        return verdict_of(mirror.upstream.url, answers or {})

    async def run(self) -> None:
        """Ask until cancelled. Start without answers."""
        self._answers.clear()
        self._is_complete = False
        while True:
            began = time.monotonic()
            pods = self._pods_by_mirror()
            for gone in set(self._answers) - set(pods):
                self._record(gone, {})
            await self._ask(pods)
            self._is_complete = True
            await self._ask_changed_until(began + max(INTERVAL, PACE * len(self.pods)))

    async def _ask_changed_until(self, deadline: float) -> None:
        """Ask the pods of mirrors whose pods change meanwhile."""
        while (left := deadline - time.monotonic()) > 0:
            await clock.wait_for_event(self._news, left)
            self._news.clear()
            changed, self._changed = self._changed, set()
            if changed:
                await self._ask(self._pods_by_mirror(changed))
                await asyncio.sleep(SHORTEST_INTERVAL)

    def _pod_changed(self, _: str, before: Json | None, after: Json | None) -> None:
        if before is None or after is None or before["status"] != after["status"]:
            self._changed |= {mirror for each in (before, after) if (mirror := _mirror_of(each)) is not None}
            self._news.set()

    def _pods_by_mirror(self, wanted: Collection[str] | None = None) -> dict[str, dict[str, str]]:
        """Return the addresses of cache pods by mirror and name, for all mirrors or the wanted ones."""
        found: defaultdict[str, dict[str, str]] = defaultdict(dict)
        for name in self.pods:
            pod = self.pods.get(name)
            mirror, address = _mirror_of(pod), dict_at(pod, "status").get("podIP")
            if mirror is not None and address and (wanted is None or mirror in wanted):
                found[mirror][name] = address
        return found if wanted is None else {mirror: found.get(mirror, {}) for mirror in wanted}

    async def _ask(self, pods: dict[str, dict[str, str]]) -> None:
        gate = asyncio.Semaphore(CONCURRENCY)

        async def ask(mirror: str) -> None:
            async def one(address: str) -> tuple[UpstreamAnswer, ...] | None:
                async with gate:
                    return parse_status(await self.fetch(address), clock.now())

            answers = await asyncio.gather(*map(one, pods[mirror].values()))
            self._record(mirror, dict(zip(pods[mirror], answers, strict=True)))

        await asyncio.gather(*map(ask, pods))

    def _record(self, mirror: str, answers: Answers) -> None:
        if answers == self._answers.get(mirror):
            return
        if answers:
            self._answers[mirror] = answers
        else:
            self._answers.pop(mirror, None)
        said = sorted({each.cause.name for answer in answers.values() for each in answer or ()})
        self.log.info("caches report another state", mirror=mirror, pods=len(answers), upstream=said)
        self.enqueue(mirror)


def _mirror_of(pod: Json | None) -> str | None:
    return names.mirror_of(dict_at(pod, "metadata", "labels"))
