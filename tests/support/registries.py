"""Run the registry of the cache's tests in a thread, for tests without an event loop."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.cache.upstream import Registry, listening

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.certificates import Issuer

START_SECONDS = 10.0


@contextmanager
def running_registry(issuer: Issuer, port: int = 0) -> Iterator[Registry]:
    """Serve a registry at 127.0.0.1 with a certificate of the issuer, by default on a free port."""
    registry, ready, end = Registry(), threading.Event(), asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def serve() -> None:
        loops.append(asyncio.get_running_loop())
        async with listening(registry.handle, issuer.server_context(), port) as bound:
            registry.url = f"https://127.0.0.1:{bound}"
            ready.set()
            await end.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert ready.wait(START_SECONDS)
        yield registry
    finally:
        loops[0].call_soon_threadsafe(end.set)
        thread.join()
