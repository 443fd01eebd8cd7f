"""Test the workers: hanging mirrors, shutdown and the report of failures."""

from __future__ import annotations

import asyncio
import selectors
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.logs import logger
from common.metrics import new_registry
from controller.clock import wait_for_event
from controller.kubeclient.errors import Conflict, Unavailable
from controller.metrics import Metrics
from controller.model.results import Done, Outcome, RequeueAfter
from controller.workqueue import workers
from controller.workqueue.workers import SHUTDOWN_GRACE, WORKERS, KeyQueue, Workers
from tests.support.waiting import until_true

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
        log, metrics = logger("ERROR", "test"), Metrics(new_registry())
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
        await until_true(lambda: self.seen.count(key) >= times, TIMEOUT)

    async def stopped(self, key: str) -> None:
        """Stop, and wait until the key is back in the queue as failed."""
        self.stopping.set()
        await until_true(lambda: self.keys.queue.failures(key) > 0, TIMEOUT)


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
    await until_true(lambda: "fail" in mirrors.reported, TIMEOUT)
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


class _VirtualSelector(selectors.DefaultSelector):
    """Advance a clock where a real selector would wait."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.now += timeout or 0
        return super().select(0)


class _Scripted:
    """Reconcile each key until the script ends it with an outcome or an error."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.now, self.keys = now, KeyQueue()
        self.running: dict[str, asyncio.Future[Outcome]] = {}
        self.pending: set[str] = set()  # added since their last start
        log, metrics = logger("CRITICAL", "test"), Metrics(new_registry())
        self.workers = Workers(self.keys, self.reconcile, self.report_failure, log, metrics)

    async def reconcile(self, key: str) -> Outcome:
        assert key not in self.running
        self.pending.discard(key)
        self.running[key] = asyncio.get_running_loop().create_future()
        try:
            return await self.running[key]
        finally:
            del self.running[key]

    async def report_failure(self, _key: str, _failure: Failure) -> None:
        await asyncio.sleep(0)

    def enqueue(self, key: str) -> None:
        self.pending.add(key)
        self.keys.enqueue(key)

    def end(self, key: str, outcome: Outcome | Exception) -> None:
        if key not in self.running or self.running[key].done():
            return
        if isinstance(outcome, Exception):
            self.running[key].set_exception(outcome)
        else:
            self.running[key].set_result(outcome)

    async def settle(self) -> None:
        """Let all tasks run; assert that no due key is left while a worker is idle."""
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(self.running) <= workers.WORKERS
        assert len(self.running) == workers.WORKERS or not self.keys.queue.depth(self.now())

    async def drained(self) -> None:
        """Complete every reconcile; assert that no added key is left after some minutes."""
        for _ in range(400):
            for key in list(self.running):
                self.end(key, Done())
            await asyncio.sleep(1)
        assert not self.running
        assert not self.pending


OUTCOMES: st.SearchStrategy[Outcome | Exception] = st.sampled_from(
    [Done(), RequeueAfter(0, ""), RequeueAfter(5, "", 2), Unavailable("no", 500), Conflict("no", 409), KeyError("no")]
)
KEYS = st.sampled_from("abcde")
STEPS = st.lists(st.tuples(KEYS, st.none() | OUTCOMES, st.sampled_from([None, 0, 0.02, 1, 5])), max_size=30)


@given(steps=STEPS, worker_count=st.integers(1, 3))
def test_due_key_never_waits_for_idle_worker(
    steps: list[tuple[str, Outcome | Exception | None, float | None]], worker_count: int
) -> None:
    """A step adds a key or ends its reconcile, then waits or not. At the end every added key was reconciled."""
    selector = _VirtualSelector()
    loop = asyncio.SelectorEventLoop(selector)
    loop.time = lambda: selector.now  # type: ignore[method-assign]

    async def script() -> None:
        scripted, stopping = _Scripted(loop.time), asyncio.Event()
        running = loop.create_task(scripted.workers.run(stopping))
        for key, outcome, pause in steps:
            if outcome is None:
                scripted.enqueue(key)
            else:
                scripted.end(key, outcome)
            if pause is not None:
                await asyncio.sleep(pause)
                await scripted.settle()
        await scripted.drained()
        stopping.set()
        await running

    with pytest.MonkeyPatch.context() as patch, asyncio.Runner(loop_factory=lambda: loop) as runner:
        patch.setattr(workers, "WORKERS", worker_count)
        patch.setattr(workers, "time", SimpleNamespace(monotonic=loop.time))
        runner.run(script())


async def test_enqueue_wakes_one_task(mirrors: _Mirrors, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cost of a key does not depend on the number of workers."""
    waits = 0

    async def counted(event: asyncio.Event, seconds: float | None) -> None:
        nonlocal waits
        waits += 1
        await wait_for_event(event, seconds)

    monkeypatch.setattr(workers, "wait_for_event", counted)
    mirrors.enqueue("other")
    await mirrors.seen_times("other")
    await asyncio.sleep(0.05)
    assert waits <= 2, "once for the key and once for its end"
