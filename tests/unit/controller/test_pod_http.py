"""Test requests to pods: by address, without exceptions."""

from __future__ import annotations

import gzip
import time
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from common.cache_protocol import STATUS_PATH, STATUS_PORT
from controller.pod_http import ANSWER_MAX, ANSWER_TIMEOUT, http_fetch
from tests.support.agents import free_address
from tests.support.pod_servers import hang, pod_servers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from controller.pod_http import Fetch
    from tests.support.pod_servers import Handler


@pytest.fixture
async def fetch() -> AsyncIterator[Fetch]:
    """Return the function that asks a pod."""
    async with http_fetch(STATUS_PORT, STATUS_PATH) as fetch:
        yield fetch


async def _whole(_: web.Request) -> web.StreamResponse:
    return web.json_response({"state": "blocked"}, status=503)


async def _no_json(_: web.Request) -> web.StreamResponse:
    return web.Response(text="404 page not found")


async def _deep(_: web.Request) -> web.StreamResponse:
    return web.Response(text="[" * 60_000)


async def _large(_: web.Request) -> web.StreamResponse:
    return web.Response(text='"' + "x" * ANSWER_MAX + '"')


async def _compressed(_: web.Request) -> web.StreamResponse:
    bomb = gzip.compress(b'"' + b"x" * 50 * 2**20 + b'"')
    return web.Response(body=bomb, headers={"Content-Encoding": "gzip"})


async def _elsewhere(_: web.Request) -> web.StreamResponse:
    raise web.HTTPFound("http://127.0.0.1:9/")


async def test_answer_of_any_status_counts(fetch: Fetch) -> None:
    """An agent that is not ready answers 503."""
    async with pod_servers() as start:
        assert await fetch(await start(_whole)) == {"state": "blocked"}


@pytest.mark.parametrize("handler", [_no_json, _deep, _large, _compressed, _elsewhere, hang])
async def test_other_servers_give_no_answer(fetch: Fetch, handler: Handler) -> None:
    async with pod_servers() as start:
        address = await start(handler)
        began = time.monotonic()
        assert await fetch(address) is None
        assert time.monotonic() - began < ANSWER_TIMEOUT + 2


async def test_proxy_of_environment_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy does not know pod addresses."""
    async with pod_servers() as start:
        monkeypatch.setenv("http_proxy", f"http://{await start(_whole)}:{STATUS_PORT}")
        async with http_fetch(STATUS_PORT, STATUS_PATH) as fetch:
            assert await fetch(free_address()) is None
            assert await fetch("::1") is None
