"""Asks beside the reconciles, never in their way: a few at a time, and tells the mirrors for which there is news."""

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

# At a time. Upstreams that hang hold a place for ten seconds each, so that 500 of them, asked every five minutes,
# need seventeen; more would not be noticed any sooner.
PLACES: Final = 16
# Seconds between the beginnings of two: 500 upstreams at once, after a start, take ten seconds, not all of a core.
PACE: Final = 0.02


@dataclass(slots=True)
class Prober:
    """The upstreams of all mirrors, and what they last said."""

    settings: ControllerSettings
    enqueue: Callable[[str], None]
    log: Logger
    schedule: Schedule = field(init=False)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.schedule = Schedule(self.settings.upstream_probe_seconds)

    def follow(self, mirror: Mirror, inputs: Inputs | MissingInput) -> Verdict | None:
        """What is known of a mirror's upstream; None while it has not answered yet. Returns at once."""
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
        """The mirror is gone, or says nothing that could be asked."""
        self.schedule.forget(mirror)

    async def run(self) -> None:
        """Asks until cancelled, beginning with nothing: who leads anew hears of every mirror again."""
        self.schedule.clear()
        if not self.settings.upstream_probe_seconds:
            await asyncio.Event().wait()
        places = asyncio.Semaphore(PLACES)
        async with Asker(self.settings) as asker, asyncio.TaskGroup() as group:
            while True:
                await places.acquire()
                question = await self._due()
                group.create_task(self._ask(asker, question)).add_done_callback(lambda _: places.release())
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
        except Exception as error:  # the boundary: one upstream's oddity is not another's
            self.log.exception("probe crashed", upstream=question.url, exc_info=error)
        mirrors = self.schedule.answered(question, found, time.monotonic())
        self._news.set()  # it has a next time now
        if found is not None and mirrors:
            login = found.login.value if found.login else ""
            self.log.info(
                "upstream probed", upstream=question.url, reason=found.reason, login=login, mirrors=len(mirrors)
            )
        for mirror in mirrors:
            self.enqueue(mirror)
