"""Parse the state of node agents from their pods and answers. Pure."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Final

from common.agent_protocol import STATUS_PORT, State
from common.defaults import dict_at
from controller.model.condition import one_line
from controller.model.observation import Agent

if TYPE_CHECKING:
    from collections.abc import Iterable

    from common.types import Json


BLOCKED: Final = State.BLOCKED.value
CLEANED: Final = State.CLEANED.value
UNVERIFIED: Final = State.UNVERIFIED.value
_STATES: Final = [state.value for state in State]  # no set: an answer may hold an unhashable value

NAMED_MAX: Final = 3  # nodes that a message names
SENTENCE_MAX: Final = 250  # characters of one agent's message; three of them fit a condition
_REASON: Final = re.compile(r"[A-Z][A-Za-z]{0,63}")
SILENT: Final = (
    f"nothing answers at port {STATUS_PORT} of its agent. Check network policies, and the agent's log. Is"
    " HOSTESS_IMAGE another program? Only a repository that ends with mirror-hostess is the original agent."
)
# Seconds until a pod without a kubelet counts as unstartable: its node is down.
UNTAKEN: Final = 10.0
# Seconds until a pod that its kubelet has not started counts as blocked, by its image or its mounts.
UNSTARTED: Final = 30.0


def agent_of(pod: Json, now: datetime) -> Agent:
    """Return the agent of a pod."""
    status = dict_at(pod, "status")
    conditions = status.get("conditions") or []
    phase = status.get("phase")
    taken = "startTime" in status
    metadata = pod["metadata"]
    age = (now - datetime.fromisoformat(metadata["creationTimestamp"])).total_seconds()
    scheduled = dict_at(pod, "spec").get("nodeName")
    unschedulable = "" if scheduled else _refusal(conditions)
    return Agent(
        node=scheduled or _wanted_node(pod),
        address=status.get("podIP") or "",
        ready=any(each.get("type") == "Ready" and each.get("status") == "True" for each in conditions),
        # A terminating pod may end before it has cleaned the node; its successor cleans.
        finished=phase in ("Failed", "Succeeded") or "deletionTimestamp" in metadata,
        may_start=phase == "Running" or (phase == "Pending" and not unschedulable and (taken or age < UNTAKEN)),
        start_overdue=phase == "Pending" and taken and age >= UNSTARTED,
        scheduled=bool(scheduled),
        idle=phase == "Pending",
        unschedulable=unschedulable,
        pod={key: metadata[key] for key in ("name", "uid", "resourceVersion") if key in metadata},
    )


def _refusal(conditions: Iterable[Json]) -> str:
    """Return why the scheduler finds no node for the pod, or an empty string."""
    for each in conditions:
        if (each.get("type"), each.get("status"), each.get("reason")) == ("PodScheduled", "False", "Unschedulable"):
            # The second sentence explains that preemption does not help.
            return one_line(str(each.get("message") or "").partition(". ")[0], SENTENCE_MAX) or "no room"
    return ""


def _wanted_node(pod: Json) -> str:
    """Return the node for which the DaemonSet made the pod, or an empty string."""
    required = dict_at(pod, "spec", "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution")
    for term in required.get("nodeSelectorTerms") or []:
        for field in term.get("matchFields") or []:
            if field.get("key") == "metadata.name" and len(field.get("values") or []) == 1:
                return str(field["values"][0])
    return ""


def with_answer(agent: Agent, answer: object) -> Agent:
    """Return the agent with its answer; None if there is none.

    Ignore an answer of another program: the address may be reused.
    """
    if answer is None:
        return agent if agent.idle or agent.finished else replace(agent, message=SILENT)
    if not isinstance(answer, dict) or answer.get("state") not in _STATES:
        return agent
    if agent.node and answer.get("node") not in (None, "", agent.node):
        return agent
    reason, message = answer.get("reason"), answer.get("message")
    return replace(
        agent,
        state=answer["state"],
        reason=reason if isinstance(reason, str) and _REASON.fullmatch(reason) else "",
        message=one_line(message, SENTENCE_MAX) if isinstance(message, str) else "",
    )


def sentences(agents: Iterable[Agent]) -> str:
    """Return the agents' messages by node, blocked agents first, those that wait last; empty if there are none."""
    speaking = sorted((each for each in agents if each.message), key=lambda each: (_rank(each), each.node))
    named = [f"{agent.node or 'a node'}: {agent.message}" for agent in speaking[:NAMED_MAX]]
    return " ".join([*named, f"(and {len(speaking) - NAMED_MAX} more)"] if speaking[NAMED_MAX:] else named)


def _rank(agent: Agent) -> int:
    return [BLOCKED, UNVERIFIED, agent.state].index(agent.state)


def listed(nodes: Iterable[str], most: int = NAMED_MAX) -> str:
    """Return the first node names and the number of the others."""
    ordered = sorted(nodes)
    more = f" and {len(ordered) - most} more" if len(ordered) > most else ""
    return ", ".join(ordered[:most]) + more
