"""Serve /healthz, /readyz and /metrics with aiohttp, a dependency of the client.

aiohttp sets no limit for the first byte, so this module limits the number and the duration of connections.
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

# Seconds that a connection lasts; the kubelet waits for at most five.
REQUEST_SECONDS: Final = 10.0
# Connections at a time, some 10 KB each. The kubelet uses two and Prometheus one.
CONNECTIONS_MAX: Final = 200
POLL_INTERVAL: Final = 1.0  # seconds between two checks for expired connections


@asynccontextmanager
async def served(app: web.Application, port: int) -> AsyncIterator[None]:
    """Serve the application while the context is open."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    assert runner.server is not None  # noqa: S101 (for the type: it is made by setup)
    limiter = _ConnectionLimiter(runner.server)
    server = await asyncio.get_running_loop().create_server(limiter.accept, port=port)
    expiring = asyncio.create_task(limiter.expire())
    try:
        yield
    finally:
        expiring.cancel()
        server.close()
        await runner.cleanup()


class _ConnectionLimiter:
    """Accept connections and close the oldest if there are too many."""

    def __init__(self, server: web.Server) -> None:
        self._server = server
        self._since: dict[RequestHandler, float] = {}  # the oldest first

    def accept(self) -> RequestHandler:
        """Return the handler of a new connection."""
        connection = self._server()
        if len(self._since) >= CONNECTIONS_MAX:
            self._remove_closed()
        if len(self._since) >= CONNECTIONS_MAX:
            self._close(next(iter(self._since)))
        self._since[connection] = asyncio.get_running_loop().time()
        return connection

    async def expire(self) -> None:
        """Close expired connections until cancelled."""
        while True:
            await asyncio.sleep(POLL_INTERVAL)
            self._remove_closed()
            limit = asyncio.get_running_loop().time() - REQUEST_SECONDS
            for connection in [each for each, since in self._since.items() if since < limit]:
                self._close(connection)

    def _remove_closed(self) -> None:
        # A new connection has no transport yet; it must stay counted.
        recent = asyncio.get_running_loop().time() - POLL_INTERVAL
        for connection in [each for each, since in self._since.items() if each.transport is None and since < recent]:
            del self._since[connection]

    def _close(self, connection: RequestHandler) -> None:
        del self._since[connection]
        connection.force_close()


@web.middleware
async def _one_request(request: web.Request, handler: Handler) -> web.StreamResponse:
    response = await handler(request)
    response.force_close()
    return response


def application(registry: CollectorRegistry, not_ready: Callable[[], list[str]]) -> web.Application:
    """Return the application. `not_ready` returns what it waits for; empty means ready."""

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        missing = not_ready()
        if missing:
            return web.Response(status=503, text=f"{', '.join(missing)}\n")
        return web.Response(text="ok\n")

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application(middlewares=[_one_request])
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    return app
