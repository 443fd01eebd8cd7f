"""How far the nodes are cleaned of a mirror that is being deleted. Pure.

Waited for is every agent that may still clean its node: one that runs, whether it answers or not, and one that is about
to start, or cannot start now, as in a broken rollout, where an earlier one may have written to the node. Not waited for
is one that no kubelet takes up, nor one that cannot start where none ever has. Whoever ends at the deadline is named.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from common.defaults import dict_at
from controller.nodes.agent_status import CLEANED, listed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from common.types import Json
    from controller.model.observation import Agent


_NAMED_MAX: Final = 10  # in the Event, which is all that is left to say where to look


def nodes_before(obj: Json) -> int:
    """Nodes that had an agent when the mirror was last looked at before its deletion."""
    desired = dict_at(obj, "status", "nodes").get("desired")
    return desired if isinstance(desired, int) else 0


def is_untouched(obj: Json, daemon_set: Json | None) -> bool:
    """Whether no agent has had a node ready, nor was there ever another template that agents may have run by."""
    generation = dict_at(daemon_set, "metadata").get("generation")
    return generation == 1 and not dict_at(obj, "status", "nodes").get("ready")


@dataclass(slots=True)
class CleanupProgress:
    """What was seen of the nodes of one mirror: all that had an agent, and those that were clean.

    `began`: when they were first looked at, in seconds of a clock that never goes backwards; `given_up`: nobody is
    waited for any more.
    """

    known: set[str] = field(default_factory=set)
    clean: set[str] = field(default_factory=set)
    began: float | None = None
    given_up: bool = False

    def is_overdue(self, deadline: float, now: float) -> bool:
        """Whether the nodes have had their time, counted from the first look.

        Not from the time of deletion, which is of another machine's clock; a controller that starts anew gives them all
        of it again.
        """
        self.began = now if self.began is None else self.began
        return now - self.began >= deadline

    def see(self, agents: Iterable[Agent], expected: int, *, untouched: bool = False) -> tuple[set[str], int]:
        """Takes in what the agents say, of which so many are expected to be there; `untouched`: none has ever run.

        Returns the nodes that are to be waited for, and how many agents that are about to start besides.
        """
        waiting: set[str] = set()
        there, homeless, starting = set(self.clean), 0, 0
        for agent in agents:
            if not agent.node:  # no node has taken this pod; it may yet, just after it was made
                homeless += 1
                starting += agent.hopeful
                continue
            self.known.add(agent.node)
            if not agent.over:
                there.add(agent.node)
            if agent.state == CLEANED:
                self.clean.add(agent.node)
            elif not agent.over and (
                agent.ready or agent.state or (agent.hopeful and not (agent.blocked and untouched))
            ):
                waiting.add(agent.node)
        return waiting - self.clean, starting + max(0, expected - len(there) - homeless)

    def unseen(self, before: int) -> str:
        """The nodes that were not seen clean, for a sentence; `before` had agents. Empty where all are clean."""
        named, others = self.known - self.clean, max(0, before - len(self.known))
        parts = [listed(named, _NAMED_MAX)] if named else []
        if others:
            parts.append(f"{others} without an agent")
        return " and ".join(parts)


def waiting_sentence(waiting: set[str], starting: int, deadline: float) -> str:
    """What a mirror that is being deleted waits for."""
    parts = [f"the agents on {listed(waiting)}"] if waiting else []
    if starting:
        parts.append(f"{starting} that are to start first")
    subject = " and ".join(parts) or "the agents"
    return f"Being deleted; {subject} have yet to take the mirror off their nodes, {deadline:.0f} s at most."
