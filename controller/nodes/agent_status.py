"""What is known of the agents on the nodes, and what that says about the nodes. Pure."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Final

from common.agent_protocol import State
from common.defaults import dict_at
from controller.model.observation import Agent

if TYPE_CHECKING:
    from collections.abc import Iterable

    from common.types import Json


BLOCKED: Final = State.BLOCKED.value
CLEANED: Final = State.CLEANED.value
_STATES: Final = [state.value for state in State]  # no set: whatever is answered can be sought in it

NAMED_MAX: Final = 3  # nodes that a sentence names; who needs more has kubectl
SENTENCE_MAX: Final = 250  # characters of what one agent says: three of them and the frame fit a condition
_REASON: Final = re.compile(r"[A-Z][A-Za-z]{0,63}")
# Seconds. A pod that no kubelet has taken up after so long stands on a node that is down, or on paper;
UNTAKEN: Final = 10.0
# one that was taken up and has not run since cannot get its image, or what it mounts: it may yet, but hardly soon.
UNSTARTED: Final = 30.0


def agent_of(pod: Json, now: datetime) -> Agent:
    """The agent in a pod."""
    status = dict_at(pod, "status")
    conditions = status.get("conditions") or []
    phase = status.get("phase")
    taken_up = "startTime" in status
    metadata = pod["metadata"]
    age = (now - datetime.fromisoformat(metadata["creationTimestamp"])).total_seconds()
    return Agent(
        node=dict_at(pod, "spec").get("nodeName") or "",
        address=status.get("podIP") or "",
        ready=any(each.get("type") == "Ready" and each.get("status") == "True" for each in conditions),
        # A pod on its way out may end before it has cleaned; the one that follows it is waited for.
        over=phase in ("Failed", "Succeeded") or "deletionTimestamp" in metadata,
        hopeful=phase == "Running" or (phase == "Pending" and (taken_up or age < UNTAKEN)),
        blocked=phase == "Pending" and taken_up and age >= UNSTARTED,
        pod={key: metadata[key] for key in ("name", "uid", "resourceVersion") if key in metadata},
    )


def told(agent: Agent, answer: object) -> Agent:
    """The agent with what it said. Whatever is no answer of an agent's is none: the address may be another's by now."""
    if not isinstance(answer, dict) or answer.get("state") not in _STATES:
        return agent
    if agent.node and answer.get("node") not in (None, "", agent.node):
        return agent
    reason, message = answer.get("reason"), answer.get("message")
    return replace(
        agent,
        state=answer["state"],
        reason=reason if isinstance(reason, str) and _REASON.fullmatch(reason) else "",
        message=_plain(message) if isinstance(message, str) else "",
    )


def _plain(text: str) -> str:
    line = " ".join("".join(each if each.isprintable() else " " for each in text).split())
    return line if len(line) <= SENTENCE_MAX else f"{line[: SENTENCE_MAX - 3]}..."


def sentences(agents: Iterable[Agent]) -> str:
    """What the agents say, node by node, those that are hindered first; empty where none says anything."""
    speaking = sorted((each for each in agents if each.message), key=lambda each: (each.state != BLOCKED, each.node))
    named = [f"{agent.node or 'a node'}: {agent.message}" for agent in speaking[:NAMED_MAX]]
    return " ".join([*named, f"(and {len(speaking) - NAMED_MAX} more)"] if speaking[NAMED_MAX:] else named)


def listed(nodes: Iterable[str], most: int = NAMED_MAX) -> str:
    """Names of nodes for a sentence, the first of them and how many more."""
    ordered = sorted(nodes)
    more = f" and {len(ordered) - most} more" if len(ordered) > most else ""
    return ", ".join(ordered[:most]) + more
