"""HTTP servers in place of pods: each at its own loopback address, at the status port of caches."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from aiohttp import web

from common.cache_protocol import STATUS_PATH, STATUS_PORT
from tests.support.agents import free_address

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def hang(_: web.Request) -> web.StreamResponse:
    """Give no answer."""
    await asyncio.sleep(60)
    return web.Response()


@asynccontextmanager
async def pod_servers() -> AsyncIterator[Callable[[Handler], Awaitable[str]]]:
    """Yield a function that starts a server with a handler for the status, and returns its address."""
    async with AsyncExitStack() as stack:

        async def start(handler: Handler) -> str:
            application = web.Application()
            application.router.add_get(STATUS_PATH, handler)
            runner = web.AppRunner(application, access_log=None, shutdown_timeout=0, handler_cancellation=True)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            address = free_address()
            await web.TCPSite(runner, address, STATUS_PORT).start()
            return address

        yield start
