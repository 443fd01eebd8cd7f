"""Test NodesConfigured and the messages of its agents."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.agent_protocol import NODE_NETWORK_NOT_PROBED, RUNTIME_NOT_VERIFIED, RUNTIME_USES_MIRRORS
from controller.model.observation import Agent, Observation
from controller.nodes.agent_status import with_answer
from controller.status import conditions, node_conditions, reasons
from tests.support.controller import a_daemon_set, inputs, parsed

UNVERIFIED = ("unverified", RUNTIME_NOT_VERIFIED)
KEYS = ("state", "reason", "message", "node", "x")
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["state", "reason", "message", "node", "x"]), inner, max_size=5)
    ),
    max_leaves=10,
)


def _agents(*pairs: tuple[str, str]) -> list[Agent]:
    return [
        with_answer(Agent(f"node-{number}"), {"state": state, "reason": reason, "message": f"says {reason}."})
        for number, (state, reason) in enumerate(pairs)
    ]


@given(_JSON)
def test_any_answer_gives_valid_condition(answer: Any) -> None:
    agent = with_answer(Agent("one"), answer)
    found = Observation(inputs(), daemon_set=a_daemon_set(3, 1), agents=(agent, agent, agent, agent))
    condition = node_conditions.nodes_configured(parsed(), found, None, serving=True)
    assert condition.reason.isalpha()
    assert condition.reason.isascii()
    assert condition.message.isprintable()
    assert len(condition.message) <= 1024


@pytest.mark.parametrize(
    ("pairs", "reason"),
    [
        ([], "NodesPending"),
        ([("pending", "Starting"), ("configured", "Configured")], "NodesPending"),
        ([("blocked", "ExistingHostsToml"), ("pending", "Starting")], "ExistingHostsToml"),
        ([("blocked", "ExistingHostsToml"), ("blocked", "ExistingHostsToml")], "ExistingHostsToml"),
        ([("blocked", "ExistingHostsToml"), ("blocked", "RuntimeIgnoresCerts")], "NodesBlocked"),
        ([("blocked", "no word"), ("pending", "Starting")], "NodesBlocked"),
        ([UNVERIFIED, UNVERIFIED], "RuntimeNotVerified"),
        ([UNVERIFIED, ("pending", "Starting")], "NodesPending"),
        ([UNVERIFIED, ("blocked", "ExistingHostsToml")], "ExistingHostsToml"),
    ],
)
def test_blocked_agents_that_agree_give_reason(pairs: list[tuple[str, str]], reason: str) -> None:
    assert node_conditions.reason_of(_agents(*pairs)) == reason


def test_agents_are_asked_while_nodes_are_pending() -> None:
    ask = node_conditions.are_pending
    assert ask(Observation(inputs(), daemon_set=a_daemon_set(3, 2)))
    for found in (
        Observation(inputs(), daemon_set=a_daemon_set(3, 3)),
        Observation(inputs(), daemon_set=a_daemon_set(0, 0)),
        Observation(inputs(), daemon_set=a_daemon_set(3, 2, generation=2)),
        Observation(inputs(), daemon_set=None),
        Observation(inputs(holder="older"), daemon_set=a_daemon_set(3, 2)),
    ):
        assert not ask(found)


def test_younger_mirror_names_images_holder() -> None:
    found = Observation(inputs(images_holders={"quay.io": "older"}), daemon_set=a_daemon_set(3, 3))
    condition = node_conditions.nodes_configured(parsed(), found, None, serving=True)
    assert (condition.status, condition.reason) == ("True", "AllNodesReady")
    assert condition.message == (
        "3 of 3 nodes use the mirror. Images of quay.io come through RegistryMirror older, which is older."
        " This mirror serves mirror-quay.io/... and takes over if older is deleted."
    )


def test_unverified_runtime_is_never_true() -> None:
    """K1: NodesConfigured and Ready are not True on a guess."""
    found = Observation(inputs(), daemon_set=a_daemon_set(3, 1), agents=tuple(_agents(UNVERIFIED, UNVERIFIED)))
    condition = node_conditions.nodes_configured(parsed(), found, None, serving=True)
    assert (condition.status, condition.reason) == ("Unknown", "RuntimeNotVerified")
    assert condition.message == (
        "1 of 3 nodes use the mirror. It is not known if the others do. node-0: says RuntimeNotVerified."
        " node-1: says RuntimeNotVerified."
    )
    ready = conditions.ready([conditions.accepted([]), condition])
    assert (ready.status, ready.reason) == ("Unknown", "RuntimeNotVerified")
    failing = reasons.NO_REPLICA_READY.condition("None is ready.")
    assert conditions.ready([condition, failing]).status == "False"


def test_fault_of_dialers_stands_before_the_agents() -> None:
    """K4: agents see that no dialer answers. The cause is in the dialers' DaemonSet."""
    fault = "DaemonSet registrymirror-dialer: FailedCreate: violates PodSecurity."
    agents = tuple(_agents(("unverified", NODE_NETWORK_NOT_PROBED)))
    found = Observation(inputs(), daemon_set=a_daemon_set(3, 1), agents=agents, dialer_fault=fault)
    condition = node_conditions.nodes_configured(parsed(), found, None, serving=True)
    assert condition.message == (
        f"1 of 3 nodes use the mirror. It is not known if the others do. {fault} node-0: says NodeNetworkNotProbed."
    )
    assert node_conditions.lack_dialers(found)
    assert not node_conditions.lack_dialers(replace(found, daemon_set=a_daemon_set(3, 3)))
    assert not node_conditions.lack_dialers(replace(found, agents=tuple(_agents(UNVERIFIED))))


@pytest.mark.parametrize("agents", [0, 3])
def test_withdrawn_mirror_names_where_pulls_go(agents: int) -> None:
    """K1: without a ready cache pod no node uses the mirror, whatever its agents have configured."""
    found = Observation(inputs(), daemon_set=a_daemon_set(3, agents))
    condition = node_conditions.nodes_configured(parsed(), found, None, serving=False)
    assert "Nodes pull from the upstream." in condition.message
    assert "use the mirror" not in condition.message


def _without_room(*nodes: str) -> tuple[Agent, ...]:
    return tuple(
        Agent(node, scheduled=False, unschedulable="0/20 nodes are available: 1 Too many pods") for node in nodes
    )


def _message(desired: int, ready: int, *nodes: str, serving: bool = True, lost: tuple[str, ...] = ()) -> str:
    found = Observation(
        inputs(), daemon_set=a_daemon_set(desired, ready), unschedulable=_without_room(*nodes), lost=frozenset(lost)
    )
    condition = node_conditions.nodes_configured(parsed(), found, None, serving=serving)
    return f"{condition.status} {condition.reason}: {condition.message}"


THREE = (
    "3 nodes have no agent, because the scheduler finds no room for it: f1, f2, f3"
    " (0/20 nodes are available: 1 Too many pods)."
)
ONE = "1 node has no agent, because the scheduler finds no room for it: f (0/20 nodes are available: 1 Too many pods)."


def test_nodes_without_room_are_named_and_not_awaited() -> None:
    expected = f"True AgentsUnschedulable: 17 of 17 nodes use the mirror. {THREE}"
    assert _message(20, 17, "f3", "f1", "f2") == expected
    pending = _message(20, 16, "f1", "f2", "f3")
    assert pending.startswith("False NodesPending: 16 of 17 nodes use the mirror.")
    assert pending.endswith(THREE)
    assert _message(1, 0, "f") == f"Unknown NoAgentScheduled: {ONE}"
    idle = "True NodesUseUpstream: No cache pod serves the upstream. Nodes pull from the upstream."
    assert _message(2, 1, "f", serving=False) == f"{idle} {ONE}"


def test_node_with_files_of_earlier_agent_is_named() -> None:
    message = _message(3, 1, "f1", "full", lost=("full",))
    assert "2 nodes have no agent" in message
    assert message.endswith("What an earlier agent configured stays on full: make room for the agent there.")


def test_agents_without_room_are_not_asked() -> None:
    found = Observation(inputs(), daemon_set=a_daemon_set(3, 2), unschedulable=_without_room("f"))
    assert not node_conditions.are_pending(found)
    assert node_conditions.are_counted(found)


STEPS = ("refuses to start", "move these entries", "Then set config_path", "restart containerd")


@pytest.mark.parametrize("reasons_of_agents", [["RuntimeUsesMirrors"], ["RuntimeUsesMirrors", "ExistingHostsToml"]])
def test_registry_mirrors_advice_precedes_config_path(reasons_of_agents: list[str]) -> None:
    """Containerd refuses to start with config_path beside registry.mirrors: the order of the steps matters."""
    agents = tuple(_agents(*(("blocked", reason) for reason in reasons_of_agents)))
    observation = Observation(inputs(), daemon_set=a_daemon_set(2, 0), agents=agents)
    condition = node_conditions.nodes_configured(parsed(), observation, None, serving=True)
    assert condition.status == "False"
    assert condition.reason == (RUNTIME_USES_MIRRORS if len(agents) == 1 else "NodesBlocked")
    assert reasons.RUNTIME_USES_MIRRORS.action in condition.message
    steps = [condition.message.index(each) for each in STEPS]
    assert steps == sorted(steps)
