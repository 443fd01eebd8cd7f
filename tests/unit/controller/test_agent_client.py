"""Test requests to agents: concurrent, by address, without exceptions."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, cast

import pytest
from aiohttp import web

from common.agent_protocol import STATUS_PORT
from controller.model.observation import Agent
from controller.nodes.agent_client import ANSWER_MAX, ANSWER_TIMEOUT, CONCURRENCY, NODE_COOLDOWN, Agents, http_fetch
from tests.support.agents import free_address

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from controller.kubeclient.client import KubeClient
    from controller.nodes.agent_client import Fetch


def _agents(fetch: Fetch) -> Agents:
    return Agents(cast("KubeClient", None), "mirrors", fetch)


async def test_agents_without_address_are_skipped() -> None:
    asked = []

    async def fetch(address: str) -> object:
        asked.append(address)
        return {"state": "cleaned"}

    found = await _agents(fetch).ask([Agent("one", "10.0.0.1"), Agent("two"), Agent("three", "10.0.0.3")])
    assert [(each.node, each.state) for each in found] == [("one", "cleaned"), ("two", ""), ("three", "cleaned")]
    assert sorted(asked) == ["10.0.0.1", "10.0.0.3"]
    assert await _agents(fetch).ask([]) == []


async def test_concurrency_is_limited() -> None:
    running = peak = 0

    async def fetch(_: str) -> object:
        nonlocal running, peak
        running += 1
        peak = max(peak, running)
        await asyncio.sleep(0)
        running -= 1
        return None

    await _agents(fetch).ask(Agent(f"n{number}", "10.0.0.1") for number in range(3 * CONCURRENCY))
    assert peak == CONCURRENCY


async def test_failing_fetch_counts_as_unanswered() -> None:
    async def fetch(_: str) -> object:
        raise RuntimeError("a bug")

    assert await _agents(fetch).ask([Agent("one", "10.0.0.1")]) == [Agent("one", "10.0.0.1")]


async def test_silent_node_delays_one_request() -> None:
    """The agents of other mirrors on that node are skipped."""
    now, asked = [100.0], list[str]()

    async def fetch(address: str) -> object:
        asked.append(address)
        if address != "10.0.0.1":
            return {"state": "cleaned"}
        now[0] += ANSWER_TIMEOUT
        return None

    agents = Agents(cast("KubeClient", None), "mirrors", fetch, lambda: now[0])
    for _ in range(2):
        await agents.ask([Agent("dead", "10.0.0.1")])
        await agents.ask([Agent("alive", "10.0.0.2")])
    assert asked == ["10.0.0.1", "10.0.0.2", "10.0.0.2"]
    now[0] += NODE_COOLDOWN
    await agents.ask([Agent("dead", "10.0.0.9")])
    assert asked[-1] == "10.0.0.9"


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
    """Return a function that starts a server in place of an agent and returns its address."""
    runners: list[web.AppRunner] = []

    async def start(handler: Any) -> str:
        application = web.Application()
        application.router.add_get("/readyz", handler)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0, handler_cancellation=True)
        runners.append(runner)
        await runner.setup()
        address = free_address()
        await web.TCPSite(runner, address, STATUS_PORT).start()
        return address

    yield start
    for runner in runners:
        await runner.cleanup()


async def test_unready_agent_answers(serve: Callable[[Any], Any]) -> None:
    async with http_fetch() as fetch:
        assert await fetch(await serve(_whole)) == {"state": "blocked"}


@pytest.mark.parametrize("handler", [_no_json, _large, _elsewhere, _hangs])
async def test_other_servers_give_no_answer(handler: Any, serve: Callable[[Any], Any]) -> None:
    began = time.monotonic()
    async with http_fetch() as fetch:
        assert await fetch(await serve(handler)) is None
    assert time.monotonic() - began < ANSWER_TIMEOUT + 2


async def test_proxy_of_environment_is_ignored(monkeypatch: pytest.MonkeyPatch, serve: Callable[[Any], Any]) -> None:
    """A proxy does not know pod addresses."""
    proxy = await serve(_whole)
    monkeypatch.setenv("http_proxy", f"http://{proxy}:{STATUS_PORT}")
    async with http_fetch() as fetch:
        assert await fetch(free_address()) is None
        assert await fetch("::1") is None
