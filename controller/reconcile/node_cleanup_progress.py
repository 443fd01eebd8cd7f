"""Track how far the nodes are cleaned of a mirror. Pure.

The mirror waits for each agent that may still clean its node: one that runs, or that is about to start.
It also waits for an agent that cannot start, if an earlier agent may have written to that node.
It does not wait for a pod that no kubelet has taken up. A node on which no agent ever ran is clean.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from common.defaults import dict_at
from controller.nodes.agent_status import CLEANED, listed

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from common.types import Json
    from controller.model.observation import Agent


_NAMED_MAX: Final = 10  # nodes named in the Event, the only record after the deletion


def nodes_before(obj: Json) -> int:
    """Return the number of nodes of the DaemonSet, from the last status before the deletion."""
    nodes = dict_at(obj, "status", "nodes")
    return sum(count for each in ("desired", "unschedulable") if isinstance(count := nodes.get(each), int))


@dataclass(slots=True)
class CleanupProgress:
    """Nodes of one mirror: all that may have had an agent (`known`), those that are clean, and those without an agent.

    `began` is in seconds of a monotonic clock. `given_up` is True after the deadline.
    """

    known: set[str] = field(default_factory=set)
    untouched: set[str] = field(default_factory=set)
    clean: set[str] = field(default_factory=set)
    began: float | None = None
    given_up: bool = False

    def is_overdue(self, deadline: float, now: float) -> bool:
        """Return True if `deadline` seconds have passed since the first call.

        The deletion timestamp is not used: it is from the clock of another machine.
        """
        self.began = now if self.began is None else self.began
        return now - self.began >= deadline

    def see(self, agents: Iterable[Agent], expected: int, untouched: Collection[str] = ()) -> tuple[set[str], int]:
        """Record the agents, and return the nodes to wait for and the number of agents still to start.

        `expected` is the number of agents to find. `untouched` are nodes on which no agent ever ran.
        """
        waiting: set[str] = set()
        present, nameless, starting = set(self.clean), 0, 0
        for agent in agents:
            if not agent.node:
                nameless += 1
                starting += agent.may_start
                continue
            if not agent.finished:
                present.add(agent.node)
            is_untouched = agent.idle and agent.node in untouched
            (self.untouched if is_untouched else self.known).add(agent.node)
            if agent.state == CLEANED:
                self.clean.add(agent.node)
            elif _may_clean(agent, untouched=is_untouched):
                waiting.add(agent.node)
        return waiting - self.clean, starting + max(0, expected - len(present) - nameless)

    def unseen(self, before: int) -> str:
        """Return the nodes that are not known to be clean, for a message; the DaemonSet had `before` nodes."""
        named, others = self.known - self.clean, max(0, before - len(self.known | self.untouched))
        parts = [listed(named, _NAMED_MAX)] if named else []
        if others:
            parts.append(f"{others} without an agent")
        return " and ".join(parts)


def _may_clean(agent: Agent, *, untouched: bool) -> bool:
    if agent.finished:
        return False
    return bool(agent.ready or agent.state or (agent.may_start and not (agent.start_overdue and untouched)))


def waiting_message(waiting: set[str], starting: int, deadline: float) -> str:
    """Return the message of a mirror that waits for its agents; `deadline` is in seconds."""
    parts = [f"agents on {listed(waiting)}"] if waiting else []
    if starting:
        parts.append(f"{starting} agents that must start first")
    awaited = " and ".join(parts) or "agents"
    return f"Being deleted. Waiting up to {deadline:.0f} s for {awaited} to clean their nodes."
