"""Reconcile each due key in a task of its own, and requeue it as its outcome demands. The only place that catches all.

One dispatcher waits for keys, so a key wakes one task. Only the dispatcher takes keys, so no wake-up is lost.
"""

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

# Concurrent reconciles. 16 keep one core busy with 500 mirrors; more are no faster. A reconcile that hangs holds its
# place (for 30 s behind an admission webhook), so there are twice as many.
WORKERS: Final = 32
# Seconds for reconciles under way at shutdown; creating all objects of a mirror takes less than 0.1 s. The next leader
# completes a reconcile that was cut off.
SHUTDOWN_GRACE: Final = 0.4


@dataclass(slots=True)
class KeyQueue:
    """Take in keys and wake the dispatcher."""

    queue: Queue = field(default_factory=Queue)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def enqueue(self, key: str) -> None:
        """Make a key due now."""
        self.queue.add(key, time.monotonic())
        self.changed.set()


@dataclass(slots=True)
class Workers:
    """Reconcile the keys of a queue. `report_failure` writes a persistent failure to the mirror's status."""

    keys: KeyQueue
    reconcile: Callable[[str], Awaitable[Outcome]]
    report_failure: Callable[[str, failures.Failure], Awaitable[None]]
    log: Logger
    metrics: Metrics
    _running: set[asyncio.Task[None]] = field(default_factory=set)

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until `stopping` is set; reconciles under way get SHUTDOWN_GRACE seconds."""
        async with asyncio.TaskGroup() as group:
            dispatcher = group.create_task(self._dispatch(group))
            await stopping.wait()
            dispatcher.cancel()
            if self._running:
                await asyncio.wait(self._running, timeout=SHUTDOWN_GRACE)
            for task in self._running:
                task.cancel()

    async def _dispatch(self, group: asyncio.TaskGroup) -> None:
        """Start a reconcile for each due key while fewer than WORKERS run."""
        while True:
            is_full = len(self._running) >= WORKERS
            key = None if is_full else self.keys.queue.take(time.monotonic())
            if key is None:
                await self._wait_for_change(None if is_full else self.keys.queue.next_due())
            else:
                task = group.create_task(self._reconcile(key))
                self._running.add(task)
                task.add_done_callback(self._ended)

    async def _wait_for_change(self, due: float | None) -> None:
        self.keys.changed.clear()
        await wait_for_event(self.keys.changed, None if due is None else due - time.monotonic())

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Wake the dispatcher: a place is free, and the key of the task may be due."""
        self._running.discard(task)
        self.keys.changed.set()

    async def _reconcile(self, key: str) -> None:
        started = time.monotonic()
        try:
            try:
                outcome = await self.reconcile(key)
            except Exception as error:  # noqa: BLE001 (the boundary: a failing mirror must not stop the others)
                await self._report(key, error, started)
                self._failed(key, error, started)
            else:
                self._finished(key, outcome, started)
        except asyncio.CancelledError:
            self.keys.queue.failed(key, time.monotonic())
            raise

    def _finished(self, key: str, outcome: Outcome, started: float) -> None:
        now = time.monotonic()
        if isinstance(outcome, RequeueAfter):
            self.keys.queue.done(key, now, now + outcome.seconds, outcome.cooldown)
        else:
            self.keys.queue.done(key, now)
        result = type(outcome).__name__.lower()
        self._count(result, now - started)
        why = outcome.reason if isinstance(outcome, RequeueAfter | Stalled) else ""
        self.log.info("reconciled", mirror=key, outcome=result, why=why, seconds=round(now - started, 4))

    async def _report(self, key: str, error: Exception, started: float) -> None:
        """Write the failure to the mirror's status, if it persists and the status can be written."""
        failure = failures.persistent_failure(error, self.keys.queue.failures(key) + 1, time.monotonic() - started)
        if failure is not None:
            try:
                await self.report_failure(key, failure)
            except Exception as refused:  # noqa: BLE001 (the reconcile has failed in any case)
                self.log.debug("failure not reported", mirror=key, why=str(refused))

    def _failed(self, key: str, error: Exception, started: float) -> None:
        now = time.monotonic()
        backoff = self.keys.queue.failed(key, now, error.retry_after if isinstance(error, Unavailable) else 0.0)
        seconds = round(now - started, 4)
        if isinstance(error, Conflict | NotLeader):
            # Another writer was faster, or another process leads: no failure, and the watch brings the change.
            self._count("conflict", seconds)
            self.log.debug("reconcile conflict", mirror=key, why=str(error), retry_seconds=backoff)
        elif isinstance(error, ClusterError):
            self._count("error", seconds)
            self.log.warning("reconcile failed", mirror=key, why=str(error), retry_seconds=backoff, seconds=seconds)
        else:
            self._count("error", seconds)
            self.log.error("reconcile crashed", mirror=key, retry_seconds=backoff, seconds=seconds, exc_info=error)

    def _count(self, result: str, seconds: float) -> None:
        self.metrics.reconciles.labels(result).inc()
        self.metrics.duration.observe(seconds)
