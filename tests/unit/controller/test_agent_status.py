"""What is known of the agents, and what follows for a mirror that lives and for one that is being deleted."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from controller.model.observation import Agent
from controller.nodes import agent_status
from controller.nodes.agent_status import agent_of, sentences, told

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


# An agent, by its pod and by what it says


def test_a_pod_that_runs_is_an_agent_that_can_be_asked() -> None:
    conditions = [{"type": "Ready", "status": "True"}]
    assert agent_of(_pod(podIP="10.0.0.1", conditions=conditions), NOW) == Agent("one", "10.0.0.1", ready=True)


@pytest.mark.parametrize(
    ("pod", "hopeful"),
    [
        (_pod("Running"), True),
        (_pod("Pending", 9), True),
        (_pod("Pending", 11), False),  # no kubelet has taken it up
        (_pod("Pending", 31, startTime="x"), True),  # no image
        (_pod("Failed"), False),
        (_pod("Unknown"), False),
        (_pod(None), False),
    ],
)
def test_a_pod_that_runs_or_has_just_been_made_may_yet_clean(pod: Json, *, hopeful: bool) -> None:
    assert agent_of(pod, NOW).hopeful is hopeful


@pytest.mark.parametrize(
    ("pod", "blocked"),
    [
        (_pod("Running", startTime="x"), False),
        (_pod("Pending", 29, startTime="x"), False),
        (_pod("Pending", 31, startTime="x"), True),
        (_pod("Pending", 31), False),
    ],
)
def test_a_pod_that_its_kubelet_cannot_start_is_blocked(pod: Json, *, blocked: bool) -> None:
    assert agent_of(pod, NOW).blocked is blocked


def test_a_pod_without_anything_is_an_agent_nobody_can_ask() -> None:
    agent = agent_of({"metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"}}, NOW)
    assert (agent.node, agent.address, agent.ready) == ("", "", False)


def test_an_agent_says_state_reason_and_message() -> None:
    said = told(Agent("one"), WHOLE)
    assert (said.state, said.reason, said.message) == ("blocked", "RuntimeIgnoresCerts", "No config_path.")


@pytest.mark.parametrize(
    "answer", [None, 5, "text", [], {}, {"state": "great"}, {"state": None}, {"state": "cleaned", "node": "another"}]
)
def test_what_is_no_answer_of_this_agent_is_none(answer: Any) -> None:
    """The address of a pod that is gone may be anybody's."""
    assert told(Agent("one"), answer) == Agent("one")


def test_a_long_message_of_several_lines_becomes_one_that_fits() -> None:
    said = told(Agent("one"), {"state": "blocked", "message": "a\nb\x00" + "c" * 1000})
    assert said.message.startswith("a b c")
    assert len(said.message) == agent_status.SENTENCE_MAX


# What they say together


def _agents(*pairs: tuple[str, str]) -> list[Agent]:
    return [
        told(Agent(f"node-{number}"), {"state": state, "reason": reason, "message": f"says {reason}."})
        for number, (state, reason) in enumerate(pairs)
    ]


def test_the_hindered_are_named_first_and_three_of_them_at_most() -> None:
    told_of = sentences(_agents(("pending", "A"), ("blocked", "B"), ("pending", "C"), ("blocked", "D")))
    assert told_of == "node-1: says B. node-3: says D. node-0: says A. (and 1 more)"
    assert sentences([Agent("silent")]) == ""
