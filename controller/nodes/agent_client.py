"""Asks the agents on the nodes how they stand; the one module that talks to them. Who needs a new pod gets it."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

import aiohttp
import orjson

from common import names
from common.agent_protocol import REPLACED, STATUS_PATH, STATUS_PORT
from controller import clock
from controller.kubeclient.errors import Conflict, Forbidden, Gone
from controller.model.observation import Agent
from controller.nodes.agent_status import agent_of, told
from controller.objects.resources import POD

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

    from controller.kubeclient.client import KubeClient

    # Takes the address of an agent; gives what it says as parsed JSON, or None where it does not answer.
    Door = Callable[[str], Awaitable[object]]

# Seconds for one answer, which an agent has at hand; one that takes longer is to be found not answering.
ANSWER_TIMEOUT: Final = 2.0
# Agents asked at once: enough for 500 dead nodes within ROUND, and few enough open files.
AT_ONCE: Final = 50
# Seconds for all of them, so that a worker that is asked to stop ends before its pod is killed.
ROUND: Final = 20.0
# Seconds that agents of a node are not asked after one of them took all its time: a dead node has one of each mirror,
# and each question would hold a worker.
SILENCE: Final = 10.0
ANSWER_MAX: Final = 65_536  # bytes; an answer has few hundred


@dataclass(frozen=True, slots=True)
class Agents:
    """The agents of one namespace."""

    cluster: KubeClient
    namespace: str
    door: Door
    clock: Callable[[], float] = time.monotonic
    _silent_until: dict[str, float] = field(default_factory=dict)  # by node

    async def every(self, mirror: str) -> list[Agent]:
        """All agents of a mirror, as Kubernetes knows them. Raises ClusterError."""
        return [agent async for agent in self._listed(mirror)]

    async def unready(self, mirror: str, most: int) -> list[Agent]:
        """Agents that keep their nodes from being counted, `most` of them at most, and what they say."""
        found: list[Agent] = []
        async for agent in self._listed(mirror):
            if not agent.ready and not agent.over:
                found.append(agent)
            if len(found) == most:
                break
        return await self.ask(found)

    async def ask(self, agents: Iterable[Agent]) -> list[Agent]:
        """The same agents with what they say; those without an address, or of a node that is silent, unasked.

        One that needs a new pod gets it. Raises ClusterError.
        """
        gate = asyncio.Semaphore(AT_ONCE)
        asked = list(agents)
        tasks = [asyncio.create_task(self._one(agent, gate)) for agent in asked]
        if tasks:
            await asyncio.wait(tasks, timeout=ROUND)
        for task in tasks:
            task.cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        found = [said if isinstance(said, Agent) else agent for agent, said in zip(asked, answers, strict=True)]
        for agent in found:
            if agent.reason == REPLACED and not agent.over:
                await self._renew(agent)
        return found

    async def _renew(self, agent: Agent) -> None:
        with suppress(Conflict, Forbidden, Gone):  # tried again at the next look, for as long as the agent says so
            await self.cluster.delete(POD, self.namespace, {"metadata": agent.pod})

    async def _one(self, agent: Agent, gate: asyncio.Semaphore) -> Agent:
        async with gate:
            began = self.clock()
            if not agent.address or began < self._silent_until.get(agent.node, began):
                return agent
            answer = await self.door(agent.address)
            if answer is None and self.clock() - began > ANSWER_TIMEOUT / 2:
                self._silent_until[agent.node] = self.clock() + SILENCE
            else:
                self._silent_until.pop(agent.node, None)
            return told(agent, answer)

    async def _listed(self, mirror: str) -> AsyncIterator[Agent]:
        labels = {names.MIRROR_LABEL: mirror, names.COMPONENT_LABEL: names.HOSTESS}
        now = clock.now()
        async for pods, _ in self.cluster.pages(POD, self.namespace, labels=names.selector(labels)):
            for pod in pods:
                yield agent_of(pod, now)


@asynccontextmanager
async def http_door() -> AsyncIterator[Door]:
    """A door to real agents, by the addresses of their pods and never by a proxy of the environment's."""
    connector = aiohttp.TCPConnector(limit=2 * AT_ONCE, force_close=True)
    timeout = aiohttp.ClientTimeout(total=ANSWER_TIMEOUT)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, trust_env=False) as session:
        yield partial(_asked, session)


async def _asked(session: aiohttp.ClientSession, address: str) -> object:
    host = f"[{address}]" if ":" in address else address
    try:
        async with session.get(f"http://{host}:{STATUS_PORT}{STATUS_PATH}", allow_redirects=False) as response:
            body = bytearray()
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > ANSWER_MAX:
                    return None
            parsed: object = orjson.loads(bytes(body))
            return parsed
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
        return None
