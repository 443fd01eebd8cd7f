"""Test the parsing of agents' pods and answers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from controller.model.observation import Agent
from controller.nodes import agent_status
from controller.nodes.agent_status import agent_of, sentences, with_answer

if TYPE_CHECKING:
    from common.types import Json

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
WHOLE = {"state": "blocked", "reason": "RuntimeIgnoresCerts", "message": "No config_path.", "node": "one"}


def _pod(phase: str | None = "Running", seconds: int = 600, **status: Any) -> Json:
    created = datetime.fromtimestamp(NOW.timestamp() - seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "metadata": {"name": "pod", "creationTimestamp": created},
        "spec": {"nodeName": "one"},
        "status": {**({"phase": phase} if phase else {}), **status},
    }


def test_running_pod_is_agent_with_address() -> None:
    conditions = [{"type": "Ready", "status": "True"}]
    assert agent_of(_pod(podIP="10.0.0.1", conditions=conditions), NOW) == Agent("one", "10.0.0.1", ready=True)


@pytest.mark.parametrize(
    ("pod", "may_start"),
    [
        (_pod("Running"), True),
        (_pod("Pending", 9), True),
        (_pod("Pending", 11), False),  # no kubelet
        (_pod("Pending", 31, startTime="x"), True),  # no image
        (_pod("Failed"), False),
        (_pod("Unknown"), False),
        (_pod(None), False),
    ],
)
def test_running_or_new_pod_may_start(pod: Json, *, may_start: bool) -> None:
    assert agent_of(pod, NOW).may_start is may_start


@pytest.mark.parametrize(
    ("pod", "overdue"),
    [
        (_pod("Running", startTime="x"), False),
        (_pod("Pending", 29, startTime="x"), False),
        (_pod("Pending", 31, startTime="x"), True),
        (_pod("Pending", 31), False),
    ],
)
def test_unstarted_pod_is_overdue(pod: Json, *, overdue: bool) -> None:
    assert agent_of(pod, NOW).start_overdue is overdue


REFUSED = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "Unschedulable",
    "message": "0/2 nodes are available: 1 Too many pods, 1 node(s) had no room. preemption: not helpful.",
}


def _unscheduled(*conditions: Json) -> Json:
    term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["one"]}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
    pod = _pod("Pending", 1, conditions=list(conditions))
    return {**pod, "spec": {"affinity": {"nodeAffinity": required}}}


def test_refused_pod_has_node_and_reason() -> None:
    agent = agent_of(_unscheduled(REFUSED), NOW)
    assert (agent.node, agent.scheduled, agent.idle, agent.may_start) == ("one", False, True, False)
    assert agent.unschedulable == "0/2 nodes are available: 1 Too many pods, 1 node(s) had no room"


@pytest.mark.parametrize(
    "conditions",
    [
        [],
        [{**REFUSED, "reason": "SchedulingGated"}],
        [{**REFUSED, "status": "True"}],
        [{**REFUSED, "type": "Ready"}],
    ],
)
def test_pod_that_scheduler_has_not_refused_may_start(conditions: list[Json]) -> None:
    agent = agent_of(_unscheduled(*conditions), NOW)
    assert (agent.node, agent.scheduled, agent.unschedulable, agent.may_start) == ("one", False, "", True)


def test_refusal_without_message_counts() -> None:
    assert agent_of(_unscheduled({**REFUSED, "message": None}), NOW).unschedulable == "no room"


def test_empty_pod_has_no_address() -> None:
    agent = agent_of({"metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"}}, NOW)
    assert (agent.node, agent.address, agent.ready) == ("", "", False)


def test_answer_sets_state_reason_and_message() -> None:
    answered = with_answer(Agent("one"), WHOLE)
    assert (answered.state, answered.reason, answered.message) == ("blocked", "RuntimeIgnoresCerts", "No config_path.")


@pytest.mark.parametrize(
    "answer", [5, "text", [], {}, {"state": "great"}, {"state": None}, {"state": "cleaned", "node": "another"}]
)
def test_answer_of_other_program_is_ignored(answer: Any) -> None:
    """The address of a deleted pod may be reused."""
    assert with_answer(Agent("one"), answer) == Agent("one")


def test_silent_agent_is_named() -> None:
    """A pod that starts or ends may be silent."""
    assert with_answer(Agent("one"), None).message == agent_status.SILENT
    assert len(agent_status.SILENT) <= agent_status.SENTENCE_MAX
    for agent in (Agent("one", idle=True), Agent("one", finished=True)):
        assert with_answer(agent, None) == agent


def test_long_message_is_cut_to_one_line() -> None:
    answered = with_answer(Agent("one"), {"state": "blocked", "message": "a\nb\x00" + "c" * 1000})
    assert answered.message.startswith("a b c")
    assert len(answered.message) == agent_status.SENTENCE_MAX


def _agents(*pairs: tuple[str, str]) -> list[Agent]:
    return [
        with_answer(Agent(f"node-{number}"), {"state": state, "reason": reason, "message": f"says {reason}."})
        for number, (state, reason) in enumerate(pairs)
    ]


def test_three_agents_are_named_blocked_first() -> None:
    text = sentences(_agents(("pending", "A"), ("blocked", "B"), ("pending", "C"), ("blocked", "D")))
    assert text == "node-1: says B. node-3: says D. node-0: says A. (and 1 more)"
    assert sentences([Agent("silent")]) == ""
