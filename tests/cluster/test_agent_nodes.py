"""Test which nodes run an agent, and what the status says of nodes without room for one.

The nodes have no kubelet. Their agents are HTTP servers of the test. The rest is real.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from controller.objects import resources
from tests.support.agents import Agent, Nodes
from tests.support.components import (
    NODE,
    create_node,
    create_node_with_capacity,
    make_pods_ready,
    pods_of,
    set_capacity,
)
from tests.support.kube import Kube, until
from tests.support.mirrors import a_mirror

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from common.types import Json
    from tests.cluster.conftest import Running

FARGATE = "eks.amazonaws.com/compute-type"
CLEANED = ("cleaned", "Cleaned", "Nothing of the mirror is on the node.")
CONFIGURED = ("configured", "Configured", "The node is configured.")


@pytest.fixture
def own(renewed: Callable[..., Running]) -> Running:
    """Return a cluster of its own: nodes affect every mirror of a cluster."""
    return renewed()


@pytest.fixture
def nodes(own: Running) -> Iterator[Callable[..., Nodes]]:
    """Return a function that creates nodes with ready agents of the mirror `docker`."""
    made: list[Nodes] = []

    def make(*names: str) -> Nodes:
        for name in names:
            create_node_with_capacity(own.kube, name)
        agents = {name: Agent(name) for name in names}
        for agent in agents.values():
            agent.say(*CONFIGURED)
        made.append(Nodes(own.kube, "docker", agents))
        return made[-1]

    yield make
    for each in made:
        each.stop()


def create_fargate_like(kube: Kube, *names: str) -> None:
    """Create nodes with a taint and without room. They have no label of their kind."""
    for name in names:
        create_node(kube, name, {"key": FARGATE, "value": "fargate", "effect": "NoSchedule"})
        set_capacity(kube, name, pods=0)


def state(kube: Kube, condition: str) -> str:
    """Return a condition as text."""
    return str(kube.conditions("docker").get(condition))


def nodes_status(kube: Kube) -> Json:
    """Return the counts of nodes in the status."""
    found: Json = kube.get(resources.MIRROR, "docker")["status"]["nodes"]
    return found


def final_events(kube: Kube) -> dict[str, str]:
    """Return the notes of the Events about cleaned nodes, by reason."""
    until(lambda: kube.find(resources.MIRROR, "docker") is None, why=f"the mirror goes; {state(kube, 'Ready')}")
    reasons = ("NodesCleaned", "NodesNotCleaned")
    found = until(lambda: [each for each in kube.events("docker") if each[1] in reasons], why="an Event")
    return {reason: note for _, reason, note in found}


def test_ready_does_not_wait_for_nodes_without_room(own: Running, nodes: Callable[..., Nodes]) -> None:
    """There are 20 nodes, and 3 of them are like those of Fargate."""
    kube = own.kube
    group = nodes(*(f"node-{number:02}" for number in range(17)))
    create_fargate_like(kube, "fargate-a", "fargate-b", "fargate-c")
    kube.mirror(a_mirror())
    make_pods_ready(kube, "docker", "registry", 2)
    began = time.monotonic()
    group.run(ready=True)
    message = kube.until_condition("docker", "NodesConfigured", "True", "AgentsUnschedulable")
    assert time.monotonic() - began < 10, "as long as without these nodes"
    assert message.startswith(
        "17 of 17 nodes use the mirror. 3 nodes have no agent, because the scheduler finds no room for it:"
        " fargate-a, fargate-b, fargate-c (0/20 nodes are available: "
    )
    assert kube.conditions("docker")["Ready"][:2] == ("True", "AgentsUnschedulable")
    assert "fargate-a, fargate-b, fargate-c" in state(kube, "Ready")
    assert nodes_status(kube) == {"desired": 17, "ready": 17, "unschedulable": 3}
    warning = ("Warning", "AgentsUnschedulable")
    until(lambda: warning in {each[:2] for each in kube.events("docker")}, why="an Event")
    printed = kube.kubectl("wait", "--for=condition=Ready", "rm/docker", "--timeout=5s")
    assert printed == "registrymirror.k8s.osp.tech/docker condition met\n"

    group.report("node-03", ready=False)
    kube.until_condition("docker", "NodesConfigured", "False", "NodesPending")
    assert "16 of 17 nodes use the mirror." in state(kube, "NodesConfigured")
    assert "fargate-a, fargate-b, fargate-c" in state(kube, "NodesConfigured")
    group.report("node-03", ready=True)
    create_fargate_like(kube, "fargate-d")
    until(lambda: nodes_status(kube)["unschedulable"] == 4, why="a node that joins counts", seconds=30)

    for agent in group:
        agent.say(*CLEANED)
    kube.delete(resources.MIRROR, "docker")
    assert final_events(kube) == {"NodesCleaned": "The mirror was removed from 17 nodes."}


def test_node_gets_room_later(own: Running, nodes: Callable[..., Nodes]) -> None:
    kube = own.kube
    create_fargate_like(kube, "small")
    kube.mirror(a_mirror())
    make_pods_ready(kube, "docker", "registry", 2)
    message = kube.until_condition("docker", "NodesConfigured", "Unknown", "NoAgentScheduled")
    assert message.startswith("1 node has no agent, because the scheduler finds no room for it: small (0/1 nodes")
    assert nodes_status(kube) == {"desired": 0, "ready": 0, "unschedulable": 1}
    kube.until_condition("docker", "Ready", "True", "NoAgentScheduled")

    group = nodes()
    group.agents["small"] = Agent("small")
    group.agents["small"].say(*CONFIGURED)
    set_capacity(kube, "small", pods=10)
    group.run(ready=True)
    kube.until_condition("docker", "NodesConfigured", "True", "AllNodesReady")
    assert nodes_status(kube) == {"desired": 1, "ready": 1}
    kube.until_condition("docker", "Ready", "True", "Ready")


def test_node_that_lost_its_agent_is_not_clean(own: Running, nodes: Callable[..., Nodes]) -> None:
    """An agent configured the node before its room went to other pods."""
    kube = own.kube
    group = nodes("first", "full")
    create_fargate_like(kube, "fargate")
    kube.mirror(a_mirror())
    make_pods_ready(kube, "docker", "registry", 2)
    group.run(ready=True)
    kube.until_condition("docker", "NodesConfigured", "True", "AgentsUnschedulable")
    assert "What an earlier agent configured" not in state(kube, "NodesConfigured")
    set_capacity(kube, "full", pods=0)
    kube.delete(resources.POD, group.pods()["full"]["metadata"]["name"], gracePeriodSeconds=0)
    until(
        lambda: "What an earlier agent configured stays on full:" in state(kube, "NodesConfigured"),
        why="it is named",
        seconds=30,
    )
    assert nodes_status(kube) == {"desired": 1, "ready": 1, "unschedulable": 2}
    kube.until_condition("docker", "Ready", "True", "AgentsUnschedulable")
    group.agents["first"].say(*CLEANED)
    kube.delete(resources.MIRROR, "docker")
    events = final_events(kube)
    assert list(events) == ["NodesNotCleaned"]
    assert "not known to be clean: full." in events["NodesNotCleaned"]


def test_agents_evict_no_pod(own: Running) -> None:
    """A node full of the pods of a user, with five mirrors."""
    kube = own.kube
    create_node_with_capacity(kube, "full")
    container = {"name": "c", "image": "x", "resources": {"requests": {"memory": "5Gi"}}}
    for number in range(3):
        kube.create(
            resources.POD, {"metadata": {"name": f"user-{number}"}, "spec": {"containers": [container]}}, "default"
        )

    def bound() -> list[str]:
        return [each["spec"].get("nodeName", "") for each in kube.every(resources.POD, "default")]

    until(lambda: bound() == ["full"] * 3, why="the node runs the pods of the user")
    set_capacity(kube, "full", pods=3)
    mirrors = [f"m{number}" for number in range(5)]
    for name in mirrors:
        kube.mirror(a_mirror().named(name).of(f"{name}.example.com"))
    for name in mirrors:
        kube.until_condition(name, "NodesConfigured", "Unknown", "NoAgentScheduled")
    for pod in kube.every(resources.POD, "default"):
        assert "deletionTimestamp" not in pod["metadata"]
    waiting = [
        pod for name in mirrors for kind in ("registry", "hostess-certificate") for pod in pods_of(kube, name, kind)
    ]
    assert {(pod["spec"]["priority"], pod["spec"]["preemptionPolicy"]) for pod in waiting} == {(1_000_000_000, "Never")}
    assert not [pod for pod in waiting if "nominatedNodeName" in pod["status"]]


SELECTORS = (
    "",
    "pool=cache",
    "pool!=cache",
    "pool in (cache,gpu),!spot",
    "pool notin (cache),pool",
    "spot",
    "cores>4,pool==gpu",
)
LABELS: dict[str, dict[str, str]] = {
    "plain": {},
    "cache": {"pool": "cache", "cores": "2"},
    "gpu": {"pool": "gpu", "cores": "8"},
    "spot": {"pool": "gpu", "spot": "", "cores": "4"},
}
VIRTUAL = {
    "fargate": {FARGATE: "fargate"},
    "aci": {"type": "virtual-kubelet", "kubernetes.io/role": "agent"},
    "liqo": {"liqo.io/type": "virtual-node"},
    "windows": {"kubernetes.io/os": "windows"},
}


def test_selector_chooses_nodes_like_kubectl(own: Running) -> None:
    """Virtual nodes are left out, unless the selector names their label."""
    kube = own.kube
    for name, labels in {**LABELS, **VIRTUAL}.items():
        create_node(kube, name, **labels)
    kube.mirror(a_mirror())

    def chosen() -> set[str]:
        terms = (
            pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
            for pod in pods_of(kube, "docker", "hostess-certificate")
        )
        return {each["nodeSelectorTerms"][0]["matchFields"][0]["values"][0] for each in terms}

    for selector in SELECTORS:
        own.system.processes.stop(["controller"])
        own.system.start_controller(HOSTESS_NODE_SELECTOR=selector)
        selected = kube.kubectl("get", "nodes", "-l", selector, "-o", "name").split()
        expected = {each.removeprefix("node/") for each in selected} - VIRTUAL.keys()
        assert expected, selector
        until(lambda expected=expected: chosen() == expected, why=f"{selector!r} chooses {expected}; {chosen()}")  # type: ignore[misc]
    own.system.processes.stop(["controller"])
    own.system.start_controller(HOSTESS_NODE_SELECTOR="type=virtual-kubelet")
    until(lambda: chosen() == {"aci"}, why="it is named")
    assert {each["metadata"]["name"] for each in kube.every(NODE)} == {*LABELS, *VIRTUAL}
