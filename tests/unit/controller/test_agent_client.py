"""Test requests to agents: concurrent, without exceptions."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from controller.model.observation import Agent
from controller.nodes.agent_client import NODE_COOLDOWN, Agents
from controller.pod_http import ANSWER_TIMEOUT, CONCURRENCY

if TYPE_CHECKING:
    from controller.kubeclient.client import KubeClient
    from controller.pod_http import Fetch


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
