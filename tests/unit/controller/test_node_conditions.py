"""Test NodesConfigured and the messages of its agents."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.agent_protocol import RUNTIME_NOT_VERIFIED, RUNTIME_USES_MIRRORS
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
    found = Observation(inputs(images_holder="older"), daemon_set=a_daemon_set(3, 3))
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


@pytest.mark.parametrize("agents", [0, 3])
def test_withdrawn_mirror_names_where_pulls_go(agents: int) -> None:
    """K1: without a ready cache pod no node uses the mirror, whatever its agents have configured."""
    found = Observation(inputs(), daemon_set=a_daemon_set(3, agents))
    condition = node_conditions.nodes_configured(parsed(), found, None, serving=False)
    assert "Nodes pull from the upstream." in condition.message
    assert "use the mirror" not in condition.message


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
