"""Ask all cache pods for their status in rounds. Enqueue a mirror after each change of an answer."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from common import names
from common.defaults import dict_at
from controller import clock
from controller.caches.cache_status import parse_report, parse_status, pulling_nodes, verdict_of
from controller.pod_http import CONCURRENCY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from common.logs import Logger
    from common.types import Json
    from controller.caches.cache_status import Answers, PodReport
    from controller.informer.store import Store
    from controller.model.mirror import Mirror
    from controller.model.observation import Verdict
    from controller.pod_http import Fetch

    Pods = Mapping[str, Mapping[str, str]]  # addresses by mirror and name

# Seconds between two rounds. With many pods a round takes PACE for each of them: 50 requests a second.
INTERVAL: Final = 10.0
PACE: Final = 0.02
# Seconds between two requests to a pod that changes again and again.
SHORTEST_INTERVAL: Final = 0.5


@dataclass(slots=True)
class CachePoller:
    """Hold the last answers of the cache pods of all mirrors."""

    pods: Store
    enqueue: Callable[[str], None]
    fetch: Fetch
    log: Logger
    _answers: dict[str, Answers] = field(default_factory=dict)
    _reports: dict[str, dict[str, PodReport]] = field(default_factory=dict)  # by mirror and pod
    _changed: set[str] = field(default_factory=set)  # mirrors with another pod, or another address of a pod
    _has_changed: asyncio.Event = field(default_factory=asyncio.Event)
    _is_complete: bool = False
    _waiting: set[str] = field(default_factory=set)  # mirrors reconciled before the end of the first round

    def __post_init__(self) -> None:
        self.pods.listen(self._pod_changed)

    def verdicts(self, mirror: Mirror) -> tuple[Verdict, ...]:
        """Return the state of each upstream of a mirror by its cache pods; nothing before the first round."""
        answers = self._answers.get(mirror.name)
        if answers is None and not self._is_complete:
            self._waiting.add(mirror.name)
            return ()
        return tuple(verdict_of(each.upstream.url, answers or {}) for each in mirror.sources)

    def pulling(self, mirror: str) -> int | None:
        """Return the number of nodes that pulled through a mirror in the last day. None means unknown."""
        return pulling_nodes(self._reports.get(mirror, {}).values())

    def volume_problem(self, mirror: str) -> str:
        """Return a sentence about the first pod without a usable volume, or an empty string."""
        reports = sorted(self._reports.get(mirror, {}).items())
        return next((f"{pod}: {report.volume_problem}" for pod, report in reports if report.volume_problem), "")

    async def run(self) -> None:
        """Ask until cancelled. Start without answers."""
        self._answers.clear()
        self._reports.clear()
        self._is_complete = False
        while True:
            began = time.monotonic()
            await self._ask_all()
            await self._ask_changed_until(began + max(INTERVAL, PACE * len(self.pods)))

    async def _ask_all(self) -> None:
        self._changed.clear()
        pods = self._pods_by_mirror()
        await self._ask(pods, self._answers.keys() | pods.keys())
        self._is_complete = True
        for mirror in self._waiting:
            self.enqueue(mirror)
        self._waiting.clear()

    async def _ask_changed_until(self, deadline: float) -> None:
        """Ask the pods of a mirror again after each change among them."""
        while (left := deadline - time.monotonic()) > 0:
            await clock.wait_for_event(self._has_changed, left)
            self._has_changed.clear()
            changed, self._changed = self._changed, set()
            if changed:
                await self._ask(self._pods_by_mirror(), changed)
                await asyncio.sleep(SHORTEST_INTERVAL)

    def _pod_changed(self, _: str, before: Json | None, after: Json | None) -> None:
        if _address_of(before) == _address_of(after):
            return
        self._changed.update(mirror for pod in (before, after) if (mirror := _mirror_of(pod)) is not None)
        self._has_changed.set()

    def _pods_by_mirror(self) -> Pods:
        found: defaultdict[str, dict[str, str]] = defaultdict(dict)
        for name in self.pods:
            pod = self.pods.get(name)
            mirror, address = _mirror_of(pod), _address_of(pod)
            if mirror is not None and address is not None:
                found[mirror][name] = address
        return found

    async def _ask(self, pods: Pods, mirrors: Iterable[str]) -> None:
        gate = asyncio.Semaphore(CONCURRENCY)

        async def status_of(address: str) -> tuple[object, datetime]:
            async with gate:
                return await self.fetch(address), clock.now()

        async def ask(mirror: str) -> None:
            addresses = pods.get(mirror, {})
            found = await asyncio.gather(*map(status_of, addresses.values()))
            statuses = dict(zip(addresses, found, strict=True))
            self._record_report(mirror, {pod: parse_report(status) for pod, (status, _) in statuses.items()})
            self._record(mirror, {pod: parse_status(status, at) for pod, (status, at) in statuses.items()})

        await asyncio.gather(*map(ask, mirrors))

    def _record_report(self, mirror: str, reports: Mapping[str, PodReport | None]) -> None:
        """Record the reports, and enqueue the mirror after a change. A silent pod keeps its last report."""
        before = self.pulling(mirror), self.volume_problem(mirror)
        known = self._reports.pop(mirror, {})
        found = {pod: report or known.get(pod) for pod, report in reports.items()}
        if kept := {pod: report for pod, report in found.items() if report is not None}:
            self._reports[mirror] = kept
        if (self.pulling(mirror), self.volume_problem(mirror)) != before:
            self.enqueue(mirror)

    def _record(self, mirror: str, answers: Answers) -> None:
        if answers == self._answers.get(mirror, {}):
            return
        if answers:
            self._answers[mirror] = answers
        else:
            self._answers.pop(mirror, None)
        upstream = sorted({each.cause.name for found in answers.values() for each in found or ()})
        self.log.info("caches report another state", mirror=mirror, pods=len(answers), upstream=upstream)
        self._waiting.discard(mirror)
        self.enqueue(mirror)


def _mirror_of(pod: Json | None) -> str | None:
    return names.mirror_of(dict_at(pod, "metadata", "labels"))


def _address_of(pod: Json | None) -> str | None:
    address: str | None = dict_at(pod, "status").get("podIP")
    return address
