"""Test requests to pods: by address, without exceptions."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from common.cache_protocol import STATUS_PATH, STATUS_PORT
from controller.pod_http import ANSWER_MAX, ANSWER_TIMEOUT, http_fetch
from tests.support.agents import free_address

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


async def _whole(_: web.Request) -> web.Response:
    return web.json_response({"state": "blocked"}, status=503)


async def _no_json(_: web.Request) -> web.Response:
    return web.Response(text="404 page not found")


async def _large(_: web.Request) -> web.Response:
    return web.Response(text='"' + "x" * ANSWER_MAX + '"')


async def _elsewhere(_: web.Request) -> web.Response:
    raise web.HTTPFound("http://127.0.0.1:9/")


async def _hangs(_: web.Request) -> web.Response:
    await asyncio.sleep(60)
    return web.Response()


@pytest.fixture
async def serve() -> AsyncIterator[Callable[[Any], Any]]:
    """Return a function that starts a server in place of a pod and returns its address."""
    runners: list[web.AppRunner] = []

    async def start(handler: Any) -> str:
        application = web.Application()
        application.router.add_get(STATUS_PATH, handler)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0, handler_cancellation=True)
        runners.append(runner)
        await runner.setup()
        address = free_address()
        await web.TCPSite(runner, address, STATUS_PORT).start()
        return address

    yield start
    for runner in runners:
        await runner.cleanup()


async def test_answer_of_any_status_counts(serve: Callable[[Any], Any]) -> None:
    """An agent that is not ready answers 503."""
    async with http_fetch(STATUS_PORT, STATUS_PATH) as fetch:
        assert await fetch(await serve(_whole)) == {"state": "blocked"}


@pytest.mark.parametrize("handler", [_no_json, _large, _elsewhere, _hangs])
async def test_other_servers_give_no_answer(handler: Any, serve: Callable[[Any], Any]) -> None:
    began = time.monotonic()
    async with http_fetch(STATUS_PORT, STATUS_PATH) as fetch:
        assert await fetch(await serve(handler)) is None
    assert time.monotonic() - began < ANSWER_TIMEOUT + 2


async def test_proxy_of_environment_is_ignored(monkeypatch: pytest.MonkeyPatch, serve: Callable[[Any], Any]) -> None:
    """A proxy does not know pod addresses."""
    proxy = await serve(_whole)
    monkeypatch.setenv("http_proxy", f"http://{proxy}:{STATUS_PORT}")
    async with http_fetch(STATUS_PORT, STATUS_PATH) as fetch:
        assert await fetch(free_address()) is None
        assert await fetch("::1") is None
