"""/healthz, /readyz and /metrics. Served by aiohttp, which the client brings anyway.

aiohttp waits for a first byte for ever, so connections are counted and timed here; each has one request.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from aiohttp.typedefs import Handler
    from aiohttp.web_protocol import RequestHandler

# Seconds from a connection's first moment to its last; the kubelet waits for five at most.
REQUEST_SECONDS: Final = 10.0
# Connections at a time, some 10 KB each. The kubelet has two, and who gathers metrics one.
CONNECTIONS_MAX: Final = 200
POLL_INTERVAL: Final = 1.0  # seconds from one look for those whose time is over to the next


@asynccontextmanager
async def served(app: web.Application, port: int) -> AsyncIterator[None]:
    """Serves it meanwhile."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    assert runner.server is not None  # noqa: S101 (for the type: it is made by setup)
    door = _Door(runner.server)
    server = await asyncio.get_running_loop().create_server(door.take, port=port)
    looking = asyncio.create_task(door.look())
    try:
        yield
    finally:
        looking.cancel()
        server.close()
        await runner.cleanup()


class _Door:
    """Takes connections, and ends the oldest where there are too many: one that asks is soon answered."""

    def __init__(self, server: web.Server) -> None:
        self._server = server
        self._since: dict[RequestHandler, float] = {}  # the oldest first

    def take(self) -> RequestHandler:
        """What serves a fresh connection."""
        connection = self._server()
        if len(self._since) >= CONNECTIONS_MAX:
            self._forget()
        if len(self._since) >= CONNECTIONS_MAX:
            self._end(next(iter(self._since)))
        self._since[connection] = asyncio.get_running_loop().time()
        return connection

    async def look(self) -> None:
        """Ends those whose time is over, for ever."""
        while True:
            await asyncio.sleep(POLL_INTERVAL)
            self._forget()
            over = asyncio.get_running_loop().time() - REQUEST_SECONDS
            for connection in [each for each, since in self._since.items() if since < over]:
                self._end(connection)

    def _forget(self) -> None:
        # One that was just taken has no transport yet: those of a burst would all be lost sight of.
        begun = asyncio.get_running_loop().time() - POLL_INTERVAL
        for connection in [each for each, since in self._since.items() if each.transport is None and since < begun]:
            del self._since[connection]

    def _end(self, connection: RequestHandler) -> None:
        del self._since[connection]
        connection.force_close()


@web.middleware
async def _one_request(request: web.Request, handler: Handler) -> web.StreamResponse:
    response = await handler(request)
    response.force_close()
    return response


def application(registry: CollectorRegistry, not_ready: Callable[[], list[str]]) -> web.Application:
    """The three pages. `not_ready` names what has not been seen of the cluster yet; empty means ready."""

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        missing = not_ready()
        if missing:
            return web.Response(status=503, text=f"not yet seen: {', '.join(missing)}\n")
        return web.Response(text="ok\n")

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application(middlewares=[_one_request])
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    return app
