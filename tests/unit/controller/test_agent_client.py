"""Agents are asked all at once, by their address alone, and whatever answers or does not, nothing is raised."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, cast

import pytest
from aiohttp import web

from common.agent_protocol import STATUS_PORT
from controller.model.observation import Agent
from controller.nodes.agent_client import ANSWER_MAX, ANSWER_TIMEOUT, AT_ONCE, SILENCE, Agents, http_door
from tests.support.agents import free_address

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from controller.kubeclient.client import KubeClient
    from controller.nodes.agent_client import Door


def _agents(door: Door) -> Agents:
    return Agents(cast("KubeClient", None), "mirrors", door)


async def test_every_agent_with_an_address_is_asked_and_the_others_are_left_as_they_are() -> None:
    asked = []

    async def door(address: str) -> object:
        asked.append(address)
        return {"state": "cleaned"}

    found = await _agents(door).ask([Agent("one", "10.0.0.1"), Agent("two"), Agent("three", "10.0.0.3")])
    assert [(each.node, each.state) for each in found] == [("one", "cleaned"), ("two", ""), ("three", "cleaned")]
    assert sorted(asked) == ["10.0.0.1", "10.0.0.3"]
    assert await _agents(door).ask([]) == []


async def test_many_are_asked_at_once_but_not_all() -> None:
    under_way = peak = 0

    async def door(_: str) -> object:
        nonlocal under_way, peak
        under_way += 1
        peak = max(peak, under_way)
        await asyncio.sleep(0)
        under_way -= 1
        return None

    await _agents(door).ask(Agent(f"n{number}", "10.0.0.1") for number in range(3 * AT_ONCE))
    assert peak == AT_ONCE


async def test_a_question_that_fails_counts_as_unanswered() -> None:
    async def door(_: str) -> object:
        raise RuntimeError("a bug")

    assert await _agents(door).ask([Agent("one", "10.0.0.1")]) == [Agent("one", "10.0.0.1")]


async def test_a_node_that_is_silent_holds_up_one_question_and_not_one_for_each_mirror() -> None:
    now, asked = [100.0], list[str]()

    async def door(address: str) -> object:
        asked.append(address)
        if address != "10.0.0.1":
            return {"state": "cleaned"}
        now[0] += ANSWER_TIMEOUT
        return None

    agents = Agents(cast("KubeClient", None), "mirrors", door, lambda: now[0])
    for _ in range(2):
        await agents.ask([Agent("dead", "10.0.0.1")])
        await agents.ask([Agent("alive", "10.0.0.2")])
    assert asked == ["10.0.0.1", "10.0.0.2", "10.0.0.2"]
    now[0] += SILENCE
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
    """Starts a server that plays an agent; gives its address."""
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


async def test_a_real_agent_answers_also_while_it_is_not_ready(serve: Callable[[Any], Any]) -> None:
    async with http_door() as door:
        assert await door(await serve(_whole)) == {"state": "blocked"}


@pytest.mark.parametrize("handler", [_no_json, _large, _elsewhere, _hangs])
async def test_whatever_is_no_agent_gives_no_answer_in_time(handler: Any, serve: Callable[[Any], Any]) -> None:
    began = time.monotonic()
    async with http_door() as door:
        assert await door(await serve(handler)) is None
    assert time.monotonic() - began < ANSWER_TIMEOUT + 2


async def test_where_nobody_listens_there_is_no_answer_whatever_proxy_the_environment_names(
    monkeypatch: pytest.MonkeyPatch, serve: Callable[[Any], Any]
) -> None:
    """A proxy would be asked for addresses that only the cluster knows."""
    proxy = await serve(_whole)
    monkeypatch.setenv("http_proxy", f"http://{proxy}:{STATUS_PORT}")
    async with http_door() as door:
        assert await door(free_address()) is None
        assert await door("::1") is None
