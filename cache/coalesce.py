"""Let all who ask for the same thing at the same moment share one task."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Hashable
    from typing import Any

T = TypeVar("T")


@dataclass(slots=True)
class Coalescer(Generic[T]):
    """Tasks in progress by key. A task goes on if those who wait for it leave."""

    _running: dict[Hashable, asyncio.Task[T]] = field(default_factory=dict)

    def join(self, key: Hashable, begin: Callable[[], Coroutine[Any, Any, T]]) -> tuple[asyncio.Future[T], bool]:
        """Return a future of the task for a key, and True if it was running before. The future may be cancelled."""
        running = self._running.get(key)
        joined = running is not None
        if running is None:
            running = asyncio.create_task(begin())
            self._running[key] = running
            running.add_done_callback(lambda task: self._end(key, task))
        return asyncio.shield(running), joined

    def _end(self, key: Hashable, task: asyncio.Task[T]) -> None:
        self._running.pop(key, None)
        if not task.cancelled():
            task.exception()  # retrieved, also if all who waited have left

    async def stop(self) -> None:
        """Cancel all tasks."""
        for task in list(self._running.values()):
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)
