"""Wait for a state in a test that runs on the event loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


async def until_true(probe: Callable[[], object], seconds: float = 5.0) -> None:
    """Wait until `probe` returns something true. Raises TimeoutError after `seconds`."""
    async with asyncio.timeout(seconds):
        while not probe():  # noqa: ASYNC110 (waits for a state, not an event)
            await asyncio.sleep(0.005)
