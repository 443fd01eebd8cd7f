"""Test NodesConfigured, and the cleanup of nodes at deletion.

The nodes have no kubelet. Their agents are HTTP servers of the test. The rest is real.
"""

from __future__ import annotations

import contextlib
import json
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from common.agent_protocol import REGISTRIES_ANNOTATION
from controller.objects import resources
from tests.support.agents import Agent, Nodes
from tests.support.components import create_node_with_capacity, finish_termination, make_pods_ready
from tests.support.kube import Kube, until
from tests.support.mirrors import MirrorBuilder, a_mirror

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.cluster.conftest import Running

FINALIZER = "k8s.osp.tech/nodes"
CLEANED = ("cleaned", "Cleaned", "Nothing of the mirror is on the node.")


def one(name: str) -> MirrorBuilder:
    """Return a mirror with host names of its own."""
    return a_mirror().named(name).of(f"{name}.example.com")


@pytest.fixture
def nodes(own: Running) -> Iterator[Callable[..., Nodes]]:
    """Return a function that creates nodes with agents of one mirror."""
    made: list[Nodes] = []

    def make(mirror: str, *names: str) -> Nodes:
        found = Nodes(own.kube, mirror, {name: Agent(name) for name in names})
        made.append(found)
        for name in names:
            with contextlib.suppress(AssertionError):  # shared by two mirrors
                create_node_with_capacity(own.kube, name)
        return found

    yield make
    for each in made:
        each.stop()


@pytest.fixture
def own(renewed: Callable[..., Running], request: pytest.FixtureRequest) -> Running:
    """Return the cluster of this module: nodes affect every mirror of a cluster."""
    return renewed(NODE_CLEANUP_DEADLINE=str(getattr(request, "param", 120)))


def ready(running: Running, nodes: Nodes) -> None:
    """Make the cache ready, and let all agents report configured nodes."""
    for agent in nodes:
        agent.say("configured", "Configured", "The node is configured.")
    nodes.run(ready=True)
    make_pods_ready(running.kube, nodes.mirror, "registry", 1)
    running.kube.until_condition(nodes.mirror, "NodesConfigured", "True", "AllNodesReady")


def reason(kube: Kube, mirror: str) -> str:
    """Return the reason of NodesConfigured."""
    return kube.condition(mirror, "NodesConfigured")[1]


def gone(kube: Kube, mirror: str, *, seconds: float = 20.0) -> None:
    """Wait until the mirror is gone."""
    until(
        lambda: kube.find(resources.MIRROR, mirror) is None,
        why=f"{mirror} goes; {state(kube, mirror)}",
        seconds=seconds,
    )


def state(kube: Kube, mirror: str) -> str:
    """Return NodesConfigured as text."""
    return str(kube.conditions(mirror).get("NodesConfigured"))


def test_finalizer_stays_until_nodes_are_clean(own: Running, nodes: Callable[..., Nodes]) -> None:
    kube = own.kube
    kube.mirror(one("docker"))
    group = nodes("docker", "first", "second")
    ready(own, group)
    message = kube.until_condition("docker", "Ready", "True", "Ready")
    assert message == "The cache serves. 2 of 2 nodes use the mirror."
    assert kube.get(resources.MIRROR, "docker")["metadata"]["finalizers"] == [FINALIZER]
    assert not group.is_cleaning()

    kube.delete(resources.MIRROR, "docker")
    until(group.is_cleaning, why="the Service has the annotation")
    group.agents["first"].say(*CLEANED)
    message = kube.until_condition("docker", "Ready", "False", "Cleaning")
    assert "Being deleted" in message
    until(lambda: "agents on second to clean" in state(kube, "docker"), why="the one that is not clean is named")
    assert "first" not in state(kube, "docker")
    for kind in resources.CHILDREN:
        kube.get(kind, "registry-mirror-docker")
    group.agents["second"].say(*CLEANED)
    gone(kube, "docker")
    kube.until_event("docker", "Normal", "NodesCleaned")
    for kind in resources.CHILDREN:
        kube.until_gone(kind, "registry-mirror-docker")
    assert "NodesNotCleaned" not in {each[1] for each in kube.events("docker")}


@pytest.mark.parametrize("own", [4], indirect=True)
def test_dead_node_delays_until_deadline(own: Running, nodes: Callable[..., Nodes]) -> None:
    kube = own.kube
    kube.mirror(one("docker"))
    group = nodes("docker", "alive", "dead", "blocked")
    ready(own, group)
    group.agents["dead"].stop()
    group.report("dead", ready=False)
    group.agents["alive"].say(*CLEANED)
    group.agents["blocked"].say("blocked", "HostsFileUnwritable", "/etc/hosts is read-only.")
    began = time.monotonic()
    kube.delete(resources.MIRROR, "docker")
    gone(kube, "docker")
    assert 2 < time.monotonic() - began < 20, "not at once, and not after the 120 s that are usual"
    (note,) = until(lambda: [each[2] for each in kube.events("docker") if each[1] == "NodesNotCleaned"], why="an Event")
    assert "not known to be clean: blocked, dead." in note


def test_restarting_agent_is_awaited(own: Running, nodes: Callable[..., Nodes]) -> None:
    kube = own.kube
    kube.mirror(one("docker"))
    group = nodes("docker", "only")
    ready(own, group)
    group.agents["only"].stop()
    group.report("only", ready=False)
    kube.delete(resources.MIRROR, "docker")
    kube.until_condition("docker", "NodesConfigured", "False", "Cleaning")
    group.agents["only"].say(*CLEANED)
    group.agents["only"].start()
    gone(kube, "docker")


def test_node_without_agent_does_not_delay(own: Running, nodes: Callable[..., Nodes]) -> None:
    """No kubelet takes up the pod of its agent. So the agent has written nothing."""
    kube = own.kube
    kube.mirror(one("docker"))
    group = nodes("docker", "first")
    ready(own, group)
    until(lambda: "paper" in nodes("docker", "paper").pods(), why="its pod exists")
    until(lambda: kube.get(resources.MIRROR, "docker")["status"]["nodes"]["desired"] == 2, why="both are counted")
    group.agents["first"].say(*CLEANED)
    kube.delete(resources.MIRROR, "docker")
    gone(kube, "docker", seconds=30)  # and not the whole deadline
    cleaned = ("Normal", "NodesCleaned", "The mirror was removed from 1 node.")
    until(lambda: cleaned in kube.events("docker"), why="an Event")
    assert "NodesNotCleaned" not in {each[1] for each in kube.events("docker")}


def test_next_controller_continues_cleanup(own: Running, nodes: Callable[..., Nodes]) -> None:
    kube = own.kube
    kube.mirror(one("docker"))
    group = nodes("docker", "first", "second")
    ready(own, group)
    kube.delete(resources.MIRROR, "docker")
    until(group.is_cleaning, why="the Service has the annotation")
    own.system.processes.kill("controller", signal.SIGKILL)
    until(lambda: not own.system.processes.alive("controller"), why="it is dead")
    with contextlib.suppress(AssertionError):
        kube.delete(resources.LEASE, "registrymirror-controller")
    for agent in group:
        agent.say(*CLEANED)
    own.system.launch_controller()
    gone(kube, "docker")


def test_recreated_mirror_cancels_cleaning(own: Running, nodes: Callable[..., Nodes]) -> None:
    """The Service of the earlier mirror may still have the cleaning annotation."""
    kube = own.kube
    kube.mirror(one("docker"))
    ready(own, nodes("docker", "only"))
    kube.patch(
        resources.SERVICE, "registry-mirror-docker", {"metadata": {"annotations": {"k8s.osp.tech/cleaning": "x"}}}
    )
    until(lambda: not _cleaning(kube), why="a foreign annotation is removed")
    kube.delete(resources.MIRROR, "docker", propagationPolicy="Orphan")
    gone(kube, "docker")
    kube.until_event("docker", "Normal", "NodesKept")
    kube.patch(
        resources.SERVICE, "registry-mirror-docker", {"metadata": {"annotations": {"k8s.osp.tech/cleaning": "x"}}}
    )
    kube.mirror(one("docker"))
    until(lambda: not _cleaning(kube), why="the annotation of the earlier mirror is removed")


def _cleaning(kube: Kube) -> Any:
    current = kube.get(resources.SERVICE, "registry-mirror-docker")
    return (current["metadata"].get("annotations") or {}).get("k8s.osp.tech/cleaning")


@pytest.mark.parametrize("own", [30], indirect=True)
def test_foreground_deletion_recreates_agents(own: Running, nodes: Callable[..., Nodes]) -> None:
    """Kubernetes deletes the dependents first, regardless of the mirror's finalizers."""
    kube = own.kube
    kube.mirror(one("docker"))
    group = nodes("docker", "only")
    ready(own, group)
    before = kube.get(resources.DAEMON_SET, "registry-mirror-docker")["metadata"]["uid"]
    kube.kubectl("delete", "rm", "docker", "--cascade=foreground", "--wait=false")
    group.agents["only"].say("pending", "Starting", "It has just started.")

    def again() -> bool:
        finish_termination(kube, "docker", "hostess-certificate")
        current = kube.find(resources.DAEMON_SET, "registry-mirror-docker")
        return current is not None and current["metadata"]["uid"] != before

    until(again, why="new agents")
    until(group.is_cleaning, why="the new Service has the annotation")
    until(group.pods, why="the new agent's pod exists")
    group.agents["only"].say(*CLEANED)
    group.report("only", ready=False)
    gone(kube, "docker")
    kube.until_event("docker", "Normal", "NodesCleaned")
    for kind in resources.CHILDREN:
        kube.until_gone(kind, "registry-mirror-docker")


def test_deleted_service_is_recreated_with_annotation(own: Running, nodes: Callable[..., Nodes]) -> None:
    kube = own.kube
    kube.mirror(one("docker"))
    group = nodes("docker", "only")
    ready(own, group)
    kube.delete(resources.MIRROR, "docker")
    until(group.is_cleaning, why="the Service has the annotation")
    kube.delete(resources.SERVICE, "registry-mirror-docker")
    until(group.is_cleaning, why="created again")
    group.agents["only"].say(*CLEANED)
    gone(kube, "docker")


def test_foreign_finalizers_stay(own: Running) -> None:
    kube = own.kube
    kube.mirror(one("docker"))
    held = lambda: FINALIZER in kube.get(resources.MIRROR, "docker")["metadata"].get("finalizers", [])  # noqa: E731
    until(held, why="held")
    kube.patch(resources.MIRROR, "docker", {"metadata": {"finalizers": ["example.com/theirs"]}})
    until(held, why="held again")
    kube.delete(resources.MIRROR, "docker")
    theirs = lambda: kube.get(resources.MIRROR, "docker")["metadata"]["finalizers"] == ["example.com/theirs"]  # noqa: E731
    until(theirs, why="ours is off, theirs is left")
    kube.patch(resources.MIRROR, "docker", {"metadata": {"finalizers": None}})
    gone(kube, "docker")


def test_original_agent_is_reported_and_cleaned_up(renewed: Callable[..., Running]) -> None:
    """The container beside it answers and cleans as the project's agent does."""
    kube = renewed(HOSTESS_IMAGE="registry.example/private/mirror-hostess:1").kube
    kube.mirror(one("docker"))
    group = Nodes(kube, "docker", {"only": Agent("only")})
    create_node_with_capacity(kube, "only")
    group.run(ready=False)
    group.agents["only"].say("pending", "HostsEntryMissing", "The original has not written it.")
    message = "only: The original has not written it."
    until(lambda: message in state(kube, "docker"), why="its answer is in the condition", seconds=25)
    group.report("only", ready=True)
    found = kube.until_condition("docker", "NodesConfigured", "True", "OriginalAgent")
    assert "1 of 1 nodes" in found
    assert "writes no hosts.toml" in found
    kube.delete(resources.MIRROR, "docker")
    until(group.is_cleaning, why="the Service has the annotation")
    group.agents["only"].say(*CLEANED)
    gone(kube, "docker")
    until(lambda: ("Normal", "NodesCleaned") in {each[:2] for each in kube.events("docker")}, why="an Event")
    group.stop()


def test_blocked_nodes_are_named_with_reason(own: Running, nodes: Callable[..., Nodes]) -> None:
    kube = own.kube
    kube.mirror(one("docker"))
    group = nodes("docker", "first", "second", "third")
    group.agents["first"].say("blocked", "RuntimeIgnoresCerts", "containerd has no config_path.")
    group.agents["second"].say("configured", "Configured", "The node is configured.")
    group.run(ready=False)
    group.report("second", ready=True)
    message = kube.until_condition("docker", "NodesConfigured", "False", "RuntimeIgnoresCerts")
    assert "first: containerd has no config_path." in message
    until(lambda: "1 of 3 nodes" in state(kube, "docker"), why="the one that is ready is counted")
    until(lambda: "third: It has just started." in state(kube, "docker"), why="those that are pending are named after")
    warned = ("Warning", "RuntimeIgnoresCerts")
    until(lambda: warned in {each[:2] for each in kube.events("docker")}, why="an Event")

    group.agents["third"].say("blocked", "ExistingHostsToml", "There is another hosts.toml.")
    until(lambda: reason(kube, "docker") == "NodesBlocked", why="asked again without an event", seconds=25)
    for node in ("first", "third"):
        group.report(node, ready=True)
    kube.until_condition("docker", "NodesConfigured", "True", "NodesUseUpstream")
    counts = [agent.asked for agent in group]
    time.sleep(11)  # longer than the interval between two surveys
    assert [agent.asked for agent in group] == counts, "at rest no agent is asked"


def test_older_mirror_of_upstream_serves_images(own: Running, nodes: Callable[..., Nodes]) -> None:
    kube = own.kube
    kube.mirror(one("older").of("quay.io").known_as("older.example.com"))
    first = nodes("older", "only")
    ready(own, first)
    kube.until_next_second("older")
    kube.mirror(one("younger").of("https://quay.io").known_as("younger.example.com"))
    ready(own, nodes("younger", "only"))
    message = state(kube, "younger")
    assert "Images of quay.io come through RegistryMirror older" in message
    assert "younger.example.com" in message
    assert (_image_host(kube, "older"), _image_host(kube, "younger")) == ("quay.io", "")
    assert kube.conditions("older")["NodesConfigured"][2] == "1 of 1 nodes use the mirror."

    kube.delete(resources.MIRROR, "older")
    until(first.is_cleaning, why="the annotation")
    assert _image_host(kube, "younger") == "", "not before the older one is off the nodes"
    first.agents["only"].say(*CLEANED)
    gone(kube, "older")
    until(lambda: _image_host(kube, "younger") == "quay.io", why="the younger takes over")


def _image_host(kube: Kube, mirror: str) -> str:
    """Return the host in image names that the agents of a mirror configure, or an empty one."""
    service = kube.get(resources.SERVICE, f"registry-mirror-{mirror}")
    (registry,) = json.loads(service["metadata"]["annotations"][REGISTRIES_ANNOTATION])
    return str(registry["host"])


def _taken_host(own: Running, nodes: Callable[..., Nodes], *names: str) -> Nodes:
    """Return the agents of a younger mirror with a host name of its own, beside an older mirror."""
    own.kube.mirror(one("older").known_as("older.internal"))
    own.kube.until_there(resources.DAEMON_SET, "registry-mirror-older")
    own.kube.until_next_second("older")
    own.kube.mirror(one("younger").known_as("younger.internal"))
    group = nodes("younger", *names)
    ready(own, group)
    return group


def test_lost_host_name_cleans_nodes_first(own: Running, nodes: Callable[..., Nodes]) -> None:
    """Otherwise its hosts.toml leads to the mirror that has the name now."""
    kube = own.kube
    group = _taken_host(own, nodes, "only")
    kube.patch(resources.MIRROR, "older", {"spec": {"masqueradeUrl": "younger.internal"}})
    kube.until_condition("younger", "NodesConfigured", "False", "MasqueradeConflict")
    until(group.is_cleaning, why="the annotation")
    kube.get(resources.DAEMON_SET, "registry-mirror-younger")
    group.agents["only"].say(*CLEANED)
    kube.until_gone(resources.DAEMON_SET, "registry-mirror-younger")
    assert group.is_cleaning(), "an agent that ends must not configure the node again"
    kube.patch(resources.MIRROR, "older", {"spec": {"masqueradeUrl": "older.internal"}})
    kube.until_there(resources.DAEMON_SET, "registry-mirror-younger")
    assert not group.is_cleaning()


@pytest.mark.parametrize("own", [4], indirect=True)
def test_lost_host_name_skips_dead_node(own: Running, nodes: Callable[..., Nodes]) -> None:
    kube = own.kube
    group = _taken_host(own, nodes, "alive", "dead")
    group.agents["dead"].stop()
    group.report("dead", ready=False)
    began = time.monotonic()
    kube.patch(resources.MIRROR, "older", {"spec": {"masqueradeUrl": "younger.internal"}})
    until(group.is_cleaning, why="the annotation")
    group.agents["alive"].say(*CLEANED)
    kube.until_gone(resources.DAEMON_SET, "registry-mirror-younger")
    assert time.monotonic() - began > 3
    notes = lambda: [each[2] for each in kube.events("younger") if each[1] == "NodesNotCleaned"]  # noqa: E731
    (note,) = until(notes, why="an Event")
    assert "not known to be clean: dead." in note
