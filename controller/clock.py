"""The wall clock, which people and daemons set, beside two that only go forward."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

# Seconds between two looks: two readings of a clock, and a certificate that a jump makes due waits no longer than this.
POLL_INTERVAL: Final = 5.0
# Seconds by which a clock must have left the other to count as set: more than NTP's slewing moves it in months of one
# look each, less than anything that matters to a certificate.
JUMP: Final = 30.0


def now() -> datetime:
    """What the wall clock says."""
    return datetime.fromtimestamp(time.time(), UTC)


def running() -> float:
    """Seconds of a clock that only goes forward."""
    return time.monotonic()


def since_boot() -> float:
    """Seconds that go on while the machine is suspended, unlike those of `running`."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


async def follow(jumped: Callable[[float], None]) -> None:
    """Calls `jumped` with the seconds by which the wall clock was set, whenever it was; until cancelled."""
    apart = time.time() - time.monotonic()
    while True:
        await asyncio.sleep(POLL_INTERVAL)
        moved = time.time() - time.monotonic() - apart
        if abs(moved) >= JUMP:
            apart += moved
            jumped(moved)


async def wait_for_event(event: asyncio.Event, seconds: float | None) -> None:
    """Wait until the event is set or the seconds have passed; None waits without a limit."""
    # Not asyncio.wait_for: before Python 3.12 it loses a cancellation that arrives together with the event.
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
