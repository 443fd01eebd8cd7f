"""The workers: take a due key, reconcile it, give it back as its outcome says. The one place that catches all."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from controller.clock import wait_for_event
from controller.kubeclient.errors import ClusterError, Conflict, NotLeader, Unavailable
from controller.model.results import Outcome, RequeueAfter, Stalled
from controller.status import failures
from controller.workqueue.queue import Queue

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from common.logs import Logger
    from controller.metrics import Metrics

# One process has one core; so many requests under way at once keep it busy while the API server works, and are few
# enough for its fair queueing. More were no faster when 500 mirrors came at once.
WORKERS: Final = 16
# Seconds after which a pass is not worked on but waited for (an admission webhook of somebody's that hangs, a node that
# does not answer): somebody else takes its place, so that mirrors which hang do not keep the others waiting.
SLOW_RECONCILE: Final = 1.0
# So many of those at most: each has a request at the API server, whose fair queueing has room for some 200 of ours.
RELIEFS: Final = 48
# Seconds that passes in hand have when the process is to end: what makes everything of a mirror takes some tens of
# milliseconds. One that is cut off is as one that was killed, and the next leader, who waits for us, finishes it.
SHUTDOWN_GRACE: Final = 0.4


@dataclass(slots=True)
class KeyQueue:
    """Where keys come in: the queue, and the bell that wakes who works on it."""

    queue: Queue = field(default_factory=Queue)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def enqueue(self, key: str) -> None:
        """Makes a key due now."""
        self.queue.add(key, time.monotonic())
        self.news.set()


@dataclass(slots=True)
class Workers:
    """Those who work on an inbox. `tell` is told of a pass that fails and goes on failing, for the mirror's status."""

    inbox: KeyQueue
    reconcile: Callable[[str], Awaitable[Outcome]]
    tell: Callable[[str, failures.Failure], Awaitable[None]]
    log: Logger
    metrics: Metrics
    _reliefs: int = 0

    async def run(self, stopping: asyncio.Event) -> None:
        """Works until `stopping` is set and what is in hand is finished, or was given SHUTDOWN_GRACE seconds to be."""
        self._reliefs = 0
        async with asyncio.TaskGroup() as group:
            working: set[asyncio.Task[None]] = set()

            def hire() -> None:
                working.add(task := group.create_task(self._work(stopping, hire)))
                task.add_done_callback(working.discard)

            group.create_task(self._end_at(stopping, working))
            for _ in range(WORKERS):
                hire()

    async def _end_at(self, stopping: asyncio.Event, working: set[asyncio.Task[None]]) -> None:
        await stopping.wait()
        self.inbox.news.set()
        if working:
            _, late = await asyncio.wait(working, timeout=SHUTDOWN_GRACE)
            for task in late:
                task.cancel()

    async def _work(self, stopping: asyncio.Event, hire: Callable[[], None]) -> None:
        """Takes key after key. Where one takes long, another worker is hired, and this one goes when it is done."""
        while not stopping.is_set():
            key = self.inbox.queue.take(time.monotonic())
            if key is None:
                await self._rest(stopping)
            elif await self._hung(key, hire):
                self._reliefs -= 1
                self.inbox.news.set()  # it is due again at a time that those who rest have not known of
                return
            # A reconcile that ends before its first request has let nobody else in: not the lease, not a probe.
            await asyncio.sleep(0)

    async def _hung(self, key: str, hire: Callable[[], None]) -> bool:
        """One pass. Returns whether it took so long that another worker was hired in this one's place."""
        hired = False
        loop = asyncio.get_running_loop()
        looked_at: asyncio.TimerHandle

        def relieve() -> None:
            nonlocal hired, looked_at
            if self._reliefs < RELIEFS:
                hired = True
                self._reliefs += 1
                hire()
            else:  # later, when one of those who have a place is done
                looked_at = loop.call_later(SLOW_RECONCILE, relieve)

        looked_at = loop.call_later(SLOW_RECONCILE, relieve)
        try:
            await self._one(key)
        finally:
            looked_at.cancel()
        return hired

    async def _rest(self, stopping: asyncio.Event) -> None:
        """Waits for news or for the next due key, whichever is first."""
        if not stopping.is_set():
            self.inbox.news.clear()
        due = self.inbox.queue.next_due()
        await wait_for_event(self.inbox.news, None if due is None else due - time.monotonic())

    async def _one(self, key: str) -> None:
        try:
            await self._tried(key, time.monotonic())
        except asyncio.CancelledError:  # at whatever it was: the key is given back
            self.inbox.queue.failed(key, time.monotonic())
            raise

    async def _tried(self, key: str, started: float) -> None:
        try:
            outcome = await self.reconcile(key)
        except Exception as error:  # noqa: BLE001 (the one boundary: one mirror's failure is not another's)
            await self._tell(key, error, started)
            self._failed(key, error, started)
        else:
            self._finished(key, outcome, started)

    def _finished(self, key: str, outcome: Outcome, started: float) -> None:
        now = time.monotonic()
        again = now + outcome.after if isinstance(outcome, RequeueAfter) else None
        result = type(outcome).__name__.lower()
        self.inbox.queue.done(key, now, again, outcome.cooldown if isinstance(outcome, RequeueAfter) else 0.0)
        self._count(result, now - started)
        why = outcome.reason if isinstance(outcome, RequeueAfter | Stalled) else ""
        self.log.info("reconciled", mirror=key, outcome=result, why=why, seconds=round(now - started, 4))

    async def _tell(self, key: str, error: Exception, started: float) -> None:
        """Lets the mirror's status say so, where that can be written; it may be the very thing that fails."""
        told = failures.worth_telling(error, self.inbox.queue.failures(key) + 1, time.monotonic() - started)
        if told is not None:
            try:
                await self.tell(key, told)
            except Exception as refused:  # noqa: BLE001 (the boundary's own: the pass has failed in any case)
                self.log.debug("failure not told", mirror=key, why=str(refused))

    def _failed(self, key: str, error: Exception, started: float) -> None:
        now = time.monotonic()
        backoff = self.inbox.queue.failed(key, now, error.retry_after if isinstance(error, Unavailable) else 0.0)
        seconds = round(now - started, 4)
        if isinstance(error, Conflict | NotLeader):
            # Somebody else wrote first, or leads now: no failure of anything, and the next look sees it.
            self._count("conflict", now - started)
            self.log.debug("reconcile overtaken", mirror=key, why=str(error), again_in=backoff)
        elif isinstance(error, ClusterError):
            self._count("error", now - started)
            self.log.warning("reconcile failed", mirror=key, why=str(error), again_in=backoff, seconds=seconds)
        else:
            self._count("error", now - started)
            self.log.error("reconcile crashed", mirror=key, again_in=backoff, seconds=seconds, exc_info=error)

    def _count(self, result: str, seconds: float) -> None:
        self.metrics.reconciles.labels(result).inc()
        self.metrics.duration.observe(seconds)
