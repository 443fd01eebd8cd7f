"""Mirrors that hang do not keep others waiting, a process that ends does not wait for them, and failures are told."""

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
from controller.workqueue import workers
from controller.workqueue.workers import WORKERS, KeyQueue, Workers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from controller.status.failures import Failure


ENOUGH = 20.0  # seconds, on a machine that stalls: what is not done by then is not done at all


class _Mirrors:
    """Those called `hang...` never come to an end, `fail...` and `crash...` do what they say, others are done.

    Those called `slow-...` take longer than a pass that is worked on, and then do what the rest says.
    """

    def __init__(self) -> None:
        self.inbox = KeyQueue()
        self.seen: list[str] = []
        self.told: dict[str, Failure] = {}
        self.stopping = asyncio.Event()
        log, metrics = logger("ERROR", "test"), Metrics(CollectorRegistry())
        self.workers = Workers(self.inbox, self.reconcile, self.tell, log, metrics)

    async def reconcile(self, key: str) -> Outcome:
        self.seen.append(key)
        if key.startswith("hang"):
            await asyncio.Event().wait()
        if key == "slow-changed" and self.seen.count(key) == 1:
            self.inbox.enqueue(key)
        if key.startswith("slow-"):
            await asyncio.sleep(2.5 * workers.SLOW_RECONCILE)
        if key == "slow-waiting":
            return RequeueAfter(0.05, "Cleaning")
        if key.removeprefix("slow-").startswith("fail"):
            raise Unavailable("webhook said no", 500)
        if key.startswith("conflict"):
            raise Conflict("somebody was faster", 409)
        if key.startswith("crash"):
            raise KeyError("a secret")
        return Done()

    async def tell(self, key: str, failure: Failure) -> None:
        self.told[key] = failure
        if key == "crash-untold":
            await asyncio.Event().wait()
        if key == "crash-twice":
            raise TypeError("another bug")

    async def until(self, seconds: float, key: str, times: int = 1) -> None:
        async with asyncio.timeout(seconds):
            while self.seen.count(key) < times:  # noqa: ASYNC110 (a state is waited for, not an event)
                await asyncio.sleep(0.01)


@pytest.fixture
async def mirrors(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[_Mirrors]:
    monkeypatch.setattr(workers, "SLOW_RECONCILE", 0.2)
    mirrors = _Mirrors()
    running = asyncio.create_task(mirrors.workers.run(mirrors.stopping))
    yield mirrors
    mirrors.stopping.set()
    async with asyncio.timeout(ENOUGH):
        await running


async def test_twice_as_many_mirrors_that_hang_as_there_are_workers_keep_no_other_waiting_for_long(
    mirrors: _Mirrors,
) -> None:
    for number in range(2 * WORKERS):
        mirrors.inbox.enqueue(f"hang{number}")
    mirrors.inbox.enqueue("other")
    await mirrors.until(ENOUGH, "other")
    assert len(mirrors.seen) == 2 * WORKERS + 1


async def test_who_found_no_relief_is_relieved_once_there_is_one(
    mirrors: _Mirrors, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others' passes end, and theirs do not: no mirror may wait for those."""
    monkeypatch.setattr(workers, "RELIEFS", 2)
    for key in ("slow-done1", "slow-done2", *(f"hang{number}" for number in range(WORKERS))):
        mirrors.inbox.enqueue(key)
    mirrors.inbox.enqueue("other")
    await mirrors.until(ENOUGH, "other")


@pytest.mark.parametrize("key", ["slow-fail", "slow-waiting", "slow-changed"])
async def test_one_whose_worker_was_relieved_is_looked_at_again_when_it_is_due(mirrors: _Mirrors, key: str) -> None:
    """The relieved one goes, and those who rest did not know of that time when they lay down."""
    mirrors.inbox.enqueue(key)
    await mirrors.until(ENOUGH, key, 3 if key == "slow-fail" else 2)


async def test_those_that_hang_are_not_waited_for_at_the_end(mirrors: _Mirrors) -> None:
    mirrors.inbox.enqueue("hang")
    await mirrors.until(ENOUGH, "hang")
    began = time.monotonic()
    mirrors.stopping.set()
    await asyncio.sleep(0)
    async with asyncio.timeout(ENOUGH):
        while mirrors.inbox.queue.failures("hang") == 0:  # noqa: ASYNC110 (a state is waited for, not an event)
            await asyncio.sleep(0.01)
    assert time.monotonic() - began >= workers.SHUTDOWN_GRACE / 2, "it was given its time"


async def test_failures_are_told_when_they_go_on_and_crashes_at_once_without_their_words(mirrors: _Mirrors) -> None:
    for key in ("fail", "conflict", "crash"):
        mirrors.inbox.enqueue(key)
    async with asyncio.timeout(ENOUGH):
        while "fail" not in mirrors.told:  # noqa: ASYNC110 (a state is waited for, not an event)
            await asyncio.sleep(0.01)
    assert mirrors.seen.count("fail") >= 5
    assert mirrors.told["fail"].reason == "ReconcileFailed"
    assert "webhook said no" in mirrors.told["fail"].message
    assert mirrors.told["crash"].reason == "InternalError"
    assert "a secret" not in mirrors.told["crash"].message
    assert "conflict" not in mirrors.told


async def test_a_mirror_is_not_forgotten_whose_failure_cannot_be_told(mirrors: _Mirrors) -> None:
    """Neither where telling it fails as well, nor where it hangs until the lease is lost."""
    for key in ("crash-twice", "crash-untold"):
        mirrors.inbox.enqueue(key)
    await mirrors.until(ENOUGH, "crash-untold")
    await mirrors.until(ENOUGH, "crash-twice", 2)
    mirrors.stopping.set()
    async with asyncio.timeout(ENOUGH):
        while mirrors.inbox.queue.failures("crash-untold") == 0:  # noqa: ASYNC110 (a state, not an event)
            await asyncio.sleep(0.01)
    assert "crash-untold" in mirrors.inbox.queue._due
