"""Ask the node agents of a mirror for their state over HTTP. Delete the pods of agents that need a new one."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from common import names
from common.agent_protocol import REPLACED
from controller import clock
from controller.kubeclient.errors import Conflict, Forbidden, Gone
from controller.model.observation import Agent
from controller.nodes.agent_status import agent_of, with_answer
from controller.objects.resources import POD
from controller.pod_http import ANSWER_TIMEOUT, CONCURRENCY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from controller.kubeclient.client import KubeClient
    from controller.pod_http import Fetch

# Seconds for all agents, so that a worker ends before its pod is killed.
ROUND_TIMEOUT: Final = 20.0
# Seconds without requests to a node after a timeout. A dead node has one agent per mirror, and each delays a worker.
NODE_COOLDOWN: Final = 10.0
UNSCHEDULED: Final = "spec.nodeName=,status.phase=Pending"  # field selector


@dataclass(frozen=True, slots=True)
class Agents:
    """The agents of one namespace."""

    cluster: KubeClient
    namespace: str
    fetch: Fetch
    clock: Callable[[], float] = time.monotonic
    _cooldown_until: dict[str, float] = field(default_factory=dict)  # by node

    async def every(self, mirror: str) -> list[Agent]:
        """Return all agents of a mirror, without their answers. Raise ClusterError."""
        return [agent async for agent in self._listed(mirror)]

    async def unready(self, mirror: str, most: int) -> list[Agent]:
        """Ask at most `most` agents that are not ready. Raise ClusterError."""
        found: list[Agent] = []
        async for agent in self._listed(mirror):
            if not agent.ready and not agent.finished and agent.scheduled:
                found.append(agent)
            if len(found) == most:
                break
        return await self.ask(found)

    async def ask(self, agents: Iterable[Agent]) -> list[Agent]:
        """Return the agents with their answers. Skip those without an address, or on a node in cooldown.

        Delete the pod of an agent that needs a new one. Raise ClusterError.
        """
        gate = asyncio.Semaphore(CONCURRENCY)
        asked = list(agents)
        tasks = [asyncio.create_task(self._ask_one(agent, gate)) for agent in asked]
        if tasks:
            await asyncio.wait(tasks, timeout=ROUND_TIMEOUT)
        for task in tasks:
            task.cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        found = [answer if isinstance(answer, Agent) else agent for agent, answer in zip(asked, answers, strict=True)]
        for agent in found:
            if agent.reason == REPLACED and not agent.finished:
                with suppress(Conflict, Forbidden, Gone):  # the next poll retries
                    await self.cluster.delete(POD, self.namespace, {"metadata": agent.pod})
        return found

    async def _ask_one(self, agent: Agent, gate: asyncio.Semaphore) -> Agent:
        async with gate:
            began = self.clock()
            if not agent.address:
                return agent
            if began < self._cooldown_until.get(agent.node, began):
                return with_answer(agent, None)
            answer = await self.fetch(agent.address)
            if answer is None and self.clock() - began > ANSWER_TIMEOUT / 2:
                self._cooldown_until[agent.node] = self.clock() + NODE_COOLDOWN
            else:
                self._cooldown_until.pop(agent.node, None)
            return with_answer(agent, answer)

    async def unschedulable(self, mirror: str) -> list[Agent]:
        """Return the agents for which the scheduler finds no room, one for each node. Raise ClusterError."""
        found = {agent.node: agent async for agent in self._listed(mirror, UNSCHEDULED) if agent.unschedulable}
        return list(found.values())

    async def _listed(self, mirror: str, selector: str = "") -> AsyncIterator[Agent]:
        labels = {names.MIRROR_LABEL: mirror, names.COMPONENT_LABEL: names.HOSTESS}
        now = clock.now()
        async for pods, _ in self.cluster.pages(POD, self.namespace, selector, names.selector(labels)):
            for pod in pods:
                yield agent_of(pod, now)
