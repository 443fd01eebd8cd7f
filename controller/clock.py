"""Read the wall clock and two clocks that only go forward; wait for events."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from datetime import UTC, datetime


def now() -> datetime:
    """Return the time of the wall clock, which an administrator or NTP may set."""
    return datetime.fromtimestamp(time.time(), UTC)


def monotonic() -> float:
    """Return seconds of a clock that only goes forward."""
    return time.monotonic()


def since_boot() -> float:
    """Return seconds since boot, including time in which the machine was suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


async def wait_for_event(event: asyncio.Event, seconds: float | None) -> None:
    """Wait until the event is set or the seconds have passed; None waits without a limit."""
    # Not asyncio.wait_for: before Python 3.12 it loses a cancellation that arrives together with the event.
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
