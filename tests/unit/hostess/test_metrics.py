"""Test the text of the agent's metrics, and what it says of the node."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from common.agent_protocol import State
from common.version import VERSION
from hostess.metrics import Probes, text_of
from hostess.node_state import NodeState
from tests.unit.hostess.running_agent import wait_withdrawn

if TYPE_CHECKING:
    from tests.unit.hostess.running_agent import Running
    from tests.unit.hostess.tls_server import Server

BUILD = ("registrymirror_build_info", (("version", VERSION),))
IN_USE = ("registrymirror_agent_mirror_in_use", ())
FAILED = ("registrymirror_agent_probes_total", (("result", "failure"),))


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Return each sample by name and labels, as Prometheus' own parser reads them."""
    found = (each for family in text_string_to_metric_families(text) for each in family.samples)
    return {(each.name, tuple(sorted(each.labels.items()))): each.value for each in found}


@pytest.mark.parametrize("state", State)
def test_one_state_is_set(state: State) -> None:
    found = samples(text_of(NodeState(state, "Why", "A sentence."), Probes(), uses_mirror=True))
    states = {labels[0][1]: value for (name, labels), value in found.items() if name == "registrymirror_agent_state"}
    assert states == {each.value: float(each is state) for each in State}
    assert found[("registrymirror_agent_state_reason", (("reason", "Why"),))] == found[BUILD] == 1


def test_unknown_use_has_no_sample() -> None:
    text = text_of(NodeState(State.UNVERIFIED, "Why", "A sentence."), Probes(), uses_mirror=None)
    assert IN_USE not in samples(text)
    assert "# TYPE registrymirror_agent_mirror_in_use gauge\n" in text


def test_probes_are_counted_with_their_time() -> None:
    probes = Probes()
    probes.count(10.0, answered=True)
    probes.count(20.0, answered=False)
    found = samples(text_of(NodeState(State.PENDING, "Why", "A sentence."), probes, uses_mirror=False))
    values = {
        name.removeprefix("registrymirror_agent_"): value for (name, labels), value in found.items() if not labels
    }
    assert values == {"mirror_in_use": 0, "last_probe_timestamp_seconds": 20, "last_answer_timestamp_seconds": 10}
    assert found[FAILED] == 1


def test_node_bypasses_a_dead_mirror(one: Running, server: Server) -> None:
    """The node uses the mirror until its hosts.toml goes."""
    one.start().configured()
    found = samples(one.agent.metrics())
    assert (found[IN_USE], found[FAILED]) == (1, 0)
    server.stop()
    wait_withdrawn(one)
    found = samples(one.agent.metrics())
    assert (found[IN_USE], found[FAILED] >= 2) == (0, True)
