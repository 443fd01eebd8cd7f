"""Probe upstreams beside the reconciles, a few at a time, and requeue mirrors whose result changed."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from controller.clock import wait_for_event
from controller.model.inputs import MissingInput
from controller.upstream import probe_messages
from controller.upstream.probe_messages import Question
from controller.upstream.registry_client import Asker
from controller.upstream.schedule import Schedule

if TYPE_CHECKING:
    from collections.abc import Callable

    from common.logs import Logger
    from controller.model.inputs import Inputs
    from controller.model.mirror import Mirror
    from controller.model.observation import Verdict
    from controller.settings import ControllerSettings

# Concurrent probes. 500 upstreams that hang for ten seconds, probed every five minutes, need seventeen.
CONCURRENCY: Final = 16
# Seconds between two starts, so that 500 upstreams do not use a whole core after a start.
PACE: Final = 0.02


@dataclass(slots=True)
class Prober:
    """Prober of the upstreams of all mirrors."""

    settings: ControllerSettings
    enqueue: Callable[[str], None]
    log: Logger
    schedule: Schedule = field(init=False)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.schedule = Schedule(self.settings.upstream_probe_seconds)

    def follow(self, mirror: Mirror, inputs: Inputs | MissingInput) -> Verdict | None:
        """Return the last result for a mirror's upstream, or None before the first. Does not wait."""
        if not self.settings.upstream_probe_seconds:
            return probe_messages.never(mirror.upstream.url)
        if isinstance(inputs, MissingInput):
            self.forget(mirror.name)
            return None
        login = inputs.credentials
        question = Question(mirror.upstream.url, login.username, login.password, inputs.bundle)
        known = self.schedule.follow(mirror.name, question, time.monotonic())
        if known is None:
            self._news.set()
        return known

    def forget(self, mirror: str) -> None:
        """Stop probing for a mirror."""
        self.schedule.forget(mirror)

    async def run(self) -> None:
        """Probe until cancelled. Start without results."""
        self.schedule.clear()
        if not self.settings.upstream_probe_seconds:
            await asyncio.Event().wait()
        slots = asyncio.Semaphore(CONCURRENCY)
        async with Asker(self.settings) as asker, asyncio.TaskGroup() as group:
            while True:
                await slots.acquire()
                question = await self._due()
                group.create_task(self._ask(asker, question)).add_done_callback(lambda _: slots.release())
                await asyncio.sleep(PACE)

    async def _due(self) -> Question:
        while True:
            question = self.schedule.take(time.monotonic())
            if question is not None:
                return question
            self._news.clear()
            due = self.schedule.next_due()
            await wait_for_event(self._news, None if due is None else due - time.monotonic())

    async def _ask(self, asker: Asker, question: Question) -> None:
        found: Verdict | None = None
        try:
            found = await asker.ask(question)
        except Exception as error:  # the boundary: an upstream's answer must not end all probes
            self.log.exception("probe crashed", upstream=question.url, exc_info=error)
        mirrors = self.schedule.answered(question, found, time.monotonic())
        self._news.set()  # a new due time
        if found is not None and mirrors:
            login = found.login.value if found.login else ""
            self.log.info(
                "upstream probed", upstream=question.url, reason=found.reason, login=login, mirrors=len(mirrors)
            )
        for mirror in mirrors:
            self.enqueue(mirror)
