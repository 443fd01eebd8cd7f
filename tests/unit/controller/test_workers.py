"""Test the workers: hanging mirrors, shutdown and the report of failures."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry

from common.logs import logger
from controller.kubeclient.errors import Conflict, Unavailable
from controller.metrics import Metrics
from controller.model.results import Done, Outcome, RequeueAfter
from controller.workqueue.workers import SHUTDOWN_GRACE, WORKERS, KeyQueue, Workers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from controller.status.failures import Failure


TIMEOUT = 20.0  # seconds; a busy machine may pause for some


class _Mirrors:
    """Reconcile mirrors that hang, fail, conflict, crash or wait, as their names say."""

    def __init__(self) -> None:
        self.keys = KeyQueue()
        self.seen: list[str] = []
        self.reported: dict[str, Failure] = {}
        self.stopping = asyncio.Event()
        log, metrics = logger("ERROR", "test"), Metrics(CollectorRegistry())
        self.workers = Workers(self.keys, self.reconcile, self.report_failure, log, metrics)

    def enqueue(self, *keys: str) -> None:
        for key in keys:
            self.keys.enqueue(key)

    async def reconcile(self, key: str) -> Outcome:
        self.seen.append(key)
        if key.startswith("hang"):
            await asyncio.Event().wait()
        if key == "wait":
            return RequeueAfter(0.05, "Cleaning")
        if key == "fail":
            raise Unavailable("webhook said no", 500)
        if key == "conflict":
            raise Conflict("another writer was faster", 409)
        if key.startswith("crash"):
            raise KeyError("a secret")
        return Done()

    async def report_failure(self, key: str, failure: Failure) -> None:
        self.reported[key] = failure
        if key == "crash-report-hangs":
            await asyncio.Event().wait()
        if key == "crash-report-crashes":
            raise TypeError("another bug")

    async def seen_times(self, key: str, times: int = 1) -> None:
        await _until(lambda: self.seen.count(key) >= times)

    async def stopped(self, key: str) -> None:
        """Stop, and wait until the key is back in the queue as failed."""
        self.stopping.set()
        await _until(lambda: self.keys.queue.failures(key) > 0)


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(TIMEOUT):
        while not condition():  # noqa: ASYNC110 (waits for a state, not an event)
            await asyncio.sleep(0.01)


@pytest.fixture
async def mirrors() -> AsyncIterator[_Mirrors]:
    mirrors = _Mirrors()
    running = asyncio.create_task(mirrors.workers.run(mirrors.stopping))
    yield mirrors
    mirrors.stopping.set()
    async with asyncio.timeout(TIMEOUT):
        await running


async def test_hanging_mirrors_leave_a_worker(mirrors: _Mirrors) -> None:
    """One worker less than all may hang."""
    mirrors.enqueue(*(f"hang{number}" for number in range(WORKERS - 1)), "other")
    await mirrors.seen_times("other")
    assert len(mirrors.seen) == WORKERS


@pytest.mark.parametrize("key", ["fail", "wait"])
async def test_key_is_reconciled_again_when_due(mirrors: _Mirrors, key: str) -> None:
    mirrors.enqueue(key)
    await mirrors.seen_times(key, 3)


async def test_shutdown_cuts_hanging_reconciles_off(mirrors: _Mirrors) -> None:
    mirrors.enqueue("hang")
    await mirrors.seen_times("hang")
    began = time.monotonic()
    await mirrors.stopped("hang")
    assert time.monotonic() - began >= SHUTDOWN_GRACE / 2, "it had time to finish"


async def test_persistent_failures_and_crashes_are_reported(mirrors: _Mirrors) -> None:
    """The report of a crash omits the exception's text, which may contain a secret."""
    mirrors.enqueue("fail", "conflict", "crash")
    await _until(lambda: "fail" in mirrors.reported)
    assert mirrors.seen.count("fail") >= 5
    assert mirrors.reported["fail"].reason == "ReconcileFailed"
    assert "webhook said no" in mirrors.reported["fail"].message
    assert mirrors.reported["crash"].reason == "InternalError"
    assert "a secret" not in mirrors.reported["crash"].message
    assert "conflict" not in mirrors.reported


async def test_failed_report_keeps_the_key(mirrors: _Mirrors) -> None:
    """The report may crash, or hang until the lease is lost."""
    mirrors.enqueue("crash-report-crashes", "crash-report-hangs")
    await mirrors.seen_times("crash-report-hangs")
    await mirrors.seen_times("crash-report-crashes", 2)
    await mirrors.stopped("crash-report-hangs")
    assert "crash-report-hangs" in mirrors.keys.queue._due
