"""Run functions in threads, to their end."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


async def in_thread(function: Callable[[], T], undo: Callable[[T], object] | None = None) -> T:
    """Run a function in a thread. A cancellation waits for its end; `undo` then gets its result.

    A descriptor that the function uses is not closed meanwhile: its number may soon be another file's.
    """
    work = asyncio.get_running_loop().run_in_executor(None, function)
    try:
        await asyncio.wait([work])
    except asyncio.CancelledError:
        while not work.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([work])
        if work.exception() is None and undo is not None:
            undo(work.result())
        raise
    return work.result()
