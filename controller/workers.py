"""The workers: take a due key, reconcile it, give it back as its outcome says. The one place that catches all."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from controller.errors import ClusterError, Conflict, Fenced, Unavailable
from controller.outcomes import Outcome, Stalled, Waiting
from controller.queue import Queue

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from common.logs import Logger
    from controller.metrics import Metrics

# One process has one core; so many requests under way at once keep it busy while the API server works, and are few
# enough for its fair queueing. More were no faster when 500 mirrors came at once.
WORKERS: Final = 16


@dataclass(slots=True)
class Inbox:
    """Where keys come in: the queue, and the bell that wakes who works on it."""

    queue: Queue = field(default_factory=Queue)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def enqueue(self, key: str) -> None:
        """Makes a key due now."""
        self.queue.add(key, time.monotonic())
        self.news.set()


@dataclass(slots=True)
class Workers:
    """Those who work on an inbox."""

    inbox: Inbox
    reconcile: Callable[[str], Awaitable[Outcome]]
    log: Logger
    metrics: Metrics

    async def run(self, stopping: asyncio.Event) -> None:
        """Works until `stopping` is set and what is in hand is finished."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._wake_at(stopping))
            for _ in range(WORKERS):
                group.create_task(self._work(stopping))

    async def _wake_at(self, stopping: asyncio.Event) -> None:
        await stopping.wait()
        self.inbox.news.set()

    async def _work(self, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            key = self.inbox.queue.take(time.monotonic())
            if key is None:
                await self._rest(stopping)
            else:
                await self._one(key)
                # A reconcile that ends before its first request has let nobody else in: not the lease, not a probe.
                await asyncio.sleep(0)

    async def _rest(self, stopping: asyncio.Event) -> None:
        """Waits for news or for the next due key, whichever is first."""
        if not stopping.is_set():
            self.inbox.news.clear()
        due = self.inbox.queue.next_due()
        try:
            await asyncio.wait_for(self.inbox.news.wait(), None if due is None else max(0.0, due - time.monotonic()))
        except TimeoutError:
            return

    async def _one(self, key: str) -> None:
        started = time.monotonic()
        try:
            outcome = await self.reconcile(key)
        except asyncio.CancelledError:
            self.inbox.queue.failed(key, time.monotonic())
            raise
        except Exception as error:  # noqa: BLE001 (the one boundary: one mirror's failure is not another's)
            self._failed(key, error, started)
        else:
            self._finished(key, outcome, started)

    def _finished(self, key: str, outcome: Outcome, started: float) -> None:
        now = time.monotonic()
        again = now + outcome.after if isinstance(outcome, Waiting) else None
        result = type(outcome).__name__.lower()
        self.inbox.queue.done(key, now, again)
        self._count(result, now - started)
        why = outcome.reason if isinstance(outcome, Waiting | Stalled) else ""
        self.log.info("reconciled", mirror=key, outcome=result, why=why, seconds=round(now - started, 4))

    def _failed(self, key: str, error: Exception, started: float) -> None:
        now = time.monotonic()
        backoff = self.inbox.queue.failed(key, now, error.retry_after if isinstance(error, Unavailable) else 0.0)
        seconds = round(now - started, 4)
        if isinstance(error, Conflict | Fenced):
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
