"""A mirror and its nodes: what their agents say is told, and a deleted mirror goes when they are clean.

The nodes exist on paper; their agents are HTTP servers of the test, and the rest is real.
"""

from __future__ import annotations

import contextlib
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from controller.objects import resources
from tests.support.agents import Agent, Nodes
from tests.support.hands import a_node_with_room, pods_become_ready, terminated
from tests.support.kube import Kube, until
from tests.support.mirrors import MirrorBuilder, a_mirror

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.cluster.conftest import Running

FINALIZER = "k8s.osp.tech/nodes"
CLEANED = ("cleaned", "Cleaned", "Nothing of the mirror is on the node.")


def one(name: str) -> MirrorBuilder:
    """A mirror whose host names no other test's mirror has."""
    return a_mirror().named(name).of(f"{name}.example.com")


@pytest.fixture
def nodes(own: Running) -> Iterator[Callable[..., Nodes]]:
    """Makes nodes with agents of one mirror, of a cluster whose controller gives them a few seconds."""
    made: list[Nodes] = []

    def make(mirror: str, *names: str) -> Nodes:
        found = Nodes(own.kube, mirror, {name: Agent(name) for name in names})
        made.append(found)
        for name in names:
            with contextlib.suppress(AssertionError):  # shared by two mirrors
                a_node_with_room(own.kube, name)
        return found

    yield make
    for each in made:
        each.stop()


@pytest.fixture
def own(fresh: Callable[..., Running], request: pytest.FixtureRequest) -> Running:
    """A cluster of its own, as nodes concern every mirror of one."""
    running = fresh(NODE_CLEANUP_DEADLINE=str(getattr(request, "param", 120)))
    running.system.start()
    return running


def ready(running: Running, nodes: Nodes) -> None:
    """All agents run and have configured their nodes."""
    for agent in nodes:
        agent.say("configured", "Configured", "The node is configured.")
    nodes.run(ready=True)
    pods_become_ready(running.kube, nodes.mirror, "registry", 1)
    running.kube.until_condition(nodes.mirror, "NodesConfigured", "True", "AllNodesReady")


def reason(kube: Kube, mirror: str) -> str:
    """Why nodes are not configured."""
    return kube.condition(mirror, "NodesConfigured")[1]


def gone(kube: Kube, mirror: str, *, seconds: float = 20.0) -> None:
    """Returns once the mirror is gone."""
    until(
        lambda: kube.find(resources.MIRROR, mirror) is None,
        why=f"{mirror} goes; {state(kube, mirror)}",
        seconds=seconds,
    )


def state(kube: Kube, mirror: str) -> str:
    """What is told of the nodes."""
    return str(kube.conditions(mirror).get("NodesConfigured"))


def test_a_mirror_is_held_until_each_node_is_clean(own: Running, nodes: Callable[..., Nodes]) -> None:
    kube = own.kube
    kube.mirror(one("docker"))
    place = nodes("docker", "first", "second")
    ready(own, place)
    assert kube.get(resources.MIRROR, "docker")["metadata"]["finalizers"] == [FINALIZER]
    assert not place.told_to_clean()

    kube.delete(resources.MIRROR, "docker")
    until(place.told_to_clean, why="the Service carries the order")
    place.agents["first"].say(*CLEANED)
    told = kube.until_condition("docker", "Ready", "False", "Cleaning")
    assert "Being deleted" in told
    until(lambda: "agents on second to clean" in state(kube, "docker"), why="the one that is not clean is named")
    assert "first" not in state(kube, "docker")
    for kind in resources.CHILDREN:
        kube.get(kind, "registry-mirror-docker")
    place.agents["second"].say(*CLEANED)
    gone(kube, "docker")
    until(lambda: ("Normal", "NodesCleaned") in {each[:2] for each in kube.events("docker")}, why="an Event tells")
    for kind in resources.CHILDREN:
        kube.until_gone(kind, "registry-mirror-docker")
    assert "NodesNotCleaned" not in {each[1] for each in kube.events("docker")}


@pytest.mark.parametrize("own", [4], indirect=True)
def test_a_dead_node_holds_it_until_the_deadline_and_is_named(own: Running, nodes: Callable[..., Nodes]) -> None:
    kube = own.kube
    kube.mirror(one("docker"))
    place = nodes("docker", "alive", "dead", "blocked")
    ready(own, place)
    place.agents["dead"].stop()
    place.report("dead", ready=False)
    place.agents["alive"].say(*CLEANED)
    place.agents["blocked"].say("blocked", "HostsFileUnwritable", "/etc/hosts is read-only.")
    began = time.monotonic()
    kube.delete(resources.MIRROR, "docker")
    gone(kube, "docker")
    assert 2 < time.monotonic() - began < 20, "not at once, and not after the 120 s that are usual"
    (note,) = until(lambda: [each[2] for each in kube.events("docker") if each[1] == "NodesNotCleaned"], why="an Event")
    assert "not known to be clean: blocked, dead." in note


def test_an_agent_that_is_down_for_a_moment_is_waited_for(own: Running, nodes: Callable[..., Nodes]) -> None:
    kube = own.kube
    kube.mirror(one("docker"))
    place = nodes("docker", "only")
    ready(own, place)
    place.agents["only"].stop()
    place.report("only", ready=False)
    kube.delete(resources.MIRROR, "docker")
    kube.until_condition("docker", "NodesConfigured", "False", "Cleaning")
    place.agents["only"].say(*CLEANED)
    place.agents["only"].start()
    gone(kube, "docker")


def test_a_node_that_never_started_its_agent_does_not_hold_it(own: Running, nodes: Callable[..., Nodes]) -> None:
    kube = own.kube
    kube.mirror(one("docker"))
    place = nodes("docker", "paper")
    until(place.pods, why="its pod exists")
    kube.delete(resources.MIRROR, "docker")
    gone(kube, "docker", seconds=30)  # and not the whole deadline
    (note,) = until(lambda: [each[2] for each in kube.events("docker") if each[1] == "NodesNotCleaned"], why="an Event")
    assert "paper" in note


def test_a_controller_that_dies_in_the_midst_is_followed_by_one_that_goes_on(
    own: Running, nodes: Callable[..., Nodes]
) -> None:
    kube = own.kube
    kube.mirror(one("docker"))
    place = nodes("docker", "first", "second")
    ready(own, place)
    kube.delete(resources.MIRROR, "docker")
    until(place.told_to_clean, why="the Service carries the order")
    own.system.processes.kill("controller", signal.SIGKILL)
    until(lambda: not own.system.processes.alive("controller"), why="it is dead")
    with contextlib.suppress(AssertionError):
        kube.delete(resources.LEASE, "registrymirror-controller")
    for agent in place:
        agent.say(*CLEANED)
    own.system.launch_controller()
    gone(kube, "docker")


def test_a_mirror_made_again_under_its_name_gets_its_nodes_back(own: Running, nodes: Callable[..., Nodes]) -> None:
    """Also where Kubernetes has not collected the earlier one's Service with its order yet, or was told to leave it."""
    kube = own.kube
    kube.mirror(one("docker"))
    ready(own, nodes("docker", "only"))
    kube.patch(
        resources.SERVICE, "registry-mirror-docker", {"metadata": {"annotations": {"k8s.osp.tech/cleaning": "x"}}}
    )
    until(lambda: not _order(kube), why="an order that nobody gave is taken out")
    kube.delete(resources.MIRROR, "docker", propagationPolicy="Orphan")
    gone(kube, "docker")
    until(lambda: ("Normal", "NodesKept") in {each[:2] for each in kube.events("docker")}, why="an Event tells")
    kube.patch(
        resources.SERVICE, "registry-mirror-docker", {"metadata": {"annotations": {"k8s.osp.tech/cleaning": "x"}}}
    )
    kube.mirror(one("docker"))
    until(lambda: not _order(kube), why="the order to the earlier one's agents is taken out")


def _order(kube: Kube) -> Any:
    live = kube.get(resources.SERVICE, "registry-mirror-docker")
    return (live["metadata"].get("annotations") or {}).get("k8s.osp.tech/cleaning")


@pytest.mark.parametrize("own", [30], indirect=True)
def test_a_foreground_deletion_makes_agents_again_that_clean(own: Running, nodes: Callable[..., Nodes]) -> None:
    """Kubernetes deletes what was made for the mirror first, whatever finalizers it has."""
    kube = own.kube
    kube.mirror(one("docker"))
    place = nodes("docker", "only")
    ready(own, place)
    before = kube.get(resources.DAEMON_SET, "registry-mirror-docker")["metadata"]["uid"]
    kube.kubectl("delete", "rm", "docker", "--cascade=foreground", "--wait=false")
    place.agents["only"].say("pending", "Starting", "It has just started.")

    def again() -> bool:
        terminated(kube, "docker", "hostess-certificate")
        live = kube.find(resources.DAEMON_SET, "registry-mirror-docker")
        return live is not None and live["metadata"]["uid"] != before

    until(again, why="the agents are made again")
    until(place.told_to_clean, why="the Service is there again with the order")
    until(place.pods, why="the new agent's pod exists")
    place.agents["only"].say(*CLEANED)
    place.report("only", ready=False)
    gone(kube, "docker")
    until(lambda: ("Normal", "NodesCleaned") in {each[:2] for each in kube.events("docker")}, why="an Event tells")
    for kind in resources.CHILDREN:
        kube.until_gone(kind, "registry-mirror-docker")


def test_a_service_that_is_deleted_meanwhile_is_made_again_with_the_order(
    own: Running, nodes: Callable[..., Nodes]
) -> None:
    kube = own.kube
    kube.mirror(one("docker"))
    place = nodes("docker", "only")
    ready(own, place)
    kube.delete(resources.MIRROR, "docker")
    until(place.told_to_clean, why="the Service carries the order")
    kube.delete(resources.SERVICE, "registry-mirror-docker")
    until(place.told_to_clean, why="made again")
    place.agents["only"].say(*CLEANED)
    gone(kube, "docker")


def test_others_finalizers_are_kept_and_ours_comes_back_as_long_as_the_mirror_lives(own: Running) -> None:
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


def test_with_the_original_agent_nothing_is_held_nor_asked(fresh: Callable[..., Running]) -> None:
    running = fresh(HOSTESS_DOCKER_IMAGE="ocadotechnology/mirror-hostess")
    running.system.start()
    kube = running.kube
    kube.mirror(one("docker"))
    place = Nodes(kube, "docker", {"only": Agent("only")})
    a_node_with_room(kube, "only")
    place.run(ready=False)
    kube.until_condition("docker", "NodesConfigured", "False", "NodesPending")
    assert "finalizers" not in kube.get(resources.MIRROR, "docker")["metadata"]
    # As a controller with our own agent would have left it.
    kube.delete(resources.MIRROR, "docker")
    gone(kube, "docker")
    assert place.agents["only"].asked == 0
    place.stop()


def test_what_keeps_nodes_is_told_by_name_and_reason(own: Running, nodes: Callable[..., Nodes]) -> None:
    kube = own.kube
    kube.mirror(one("docker"))
    place = nodes("docker", "first", "second", "third")
    place.agents["first"].say("blocked", "RuntimeIgnoresCerts", "containerd has no config_path.")
    place.agents["second"].say("configured", "Configured", "The node is configured.")
    place.run(ready=False)
    place.report("second", ready=True)
    told = kube.until_condition("docker", "NodesConfigured", "False", "RuntimeIgnoresCerts")
    assert "first: containerd has no config_path." in told
    until(lambda: "1 of 3 nodes" in state(kube, "docker"), why="the one that is ready is counted")
    until(lambda: "third: It has just started." in state(kube, "docker"), why="those that are pending are named after")
    warned = ("Warning", "RuntimeIgnoresCerts")
    until(lambda: warned in {each[:2] for each in kube.events("docker")}, why="an Event tells")

    place.agents["third"].say("blocked", "ExistingHostsToml", "There is a hosts.toml of somebody else's.")
    until(lambda: reason(kube, "docker") == "NodesBlocked", why="asked again without an event", seconds=25)
    for node in ("first", "third"):
        place.report(node, ready=True)
    kube.until_condition("docker", "NodesConfigured", "True", "NodesUseUpstream")
    counts = [agent.asked for agent in place]
    time.sleep(11)  # longer than the pause between two questions
    assert [agent.asked for agent in place] == counts, "at rest nobody is asked"


def test_of_two_mirrors_of_one_upstream_the_older_has_the_images_and_the_younger_takes_over(
    own: Running, nodes: Callable[..., Nodes]
) -> None:
    kube = own.kube
    kube.mirror(one("older").of("quay.io").known_as("older.example.com"))
    first = nodes("older", "only")
    ready(own, first)
    created = kube.get(resources.MIRROR, "older")["metadata"]["creationTimestamp"]
    until(lambda: _clock(kube) > created, why="the next second")
    kube.mirror(one("younger").of("https://quay.io").known_as("younger.example.com"))
    ready(own, nodes("younger", "only"))
    told = state(kube, "younger")
    assert "Images of quay.io come through RegistryMirror older" in told
    assert "younger.example.com" in told
    assert (_image_host(kube, "older"), _image_host(kube, "younger")) == ("quay.io", "")
    assert kube.conditions("older")["NodesConfigured"][2] == "1 of 1 nodes use the mirror."

    kube.delete(resources.MIRROR, "older")
    until(first.told_to_clean, why="the order")
    assert _image_host(kube, "younger") == "", "not before the older one is off the nodes"
    first.agents["only"].say(*CLEANED)
    gone(kube, "older")
    until(lambda: _image_host(kube, "younger") == "quay.io", why="the younger takes over")


def _image_host(kube: Kube, mirror: str) -> str:
    template = kube.get(resources.DAEMON_SET, f"registry-mirror-{mirror}")["spec"]["template"]
    (container,) = template["spec"]["containers"]
    return next(str(each.get("value", "")) for each in container["env"] if each["name"] == "UPSTREAM_HOST")


def _clock(kube: Kube) -> str:
    """The API server's time, as creation timestamps are written."""
    probe = kube.create(resources.SECRET, {"metadata": {"generateName": "clock-"}}, dryRun="All")
    return str(probe["metadata"]["creationTimestamp"])


def test_a_mirror_that_loses_its_host_name_is_taken_off_the_nodes_before_its_agents_go(
    own: Running, nodes: Callable[..., Nodes]
) -> None:
    """Or its hosts.toml would lead images of its upstream to the mirror that has the name now."""
    kube = own.kube
    kube.mirror(one("older").known_as("older.example.com"))
    kube.until_there(resources.DAEMON_SET, "registry-mirror-older")
    created = kube.get(resources.MIRROR, "older")["metadata"]["creationTimestamp"]
    until(lambda: _clock(kube) > created, why="the next second")
    kube.mirror(one("younger").known_as("younger.example.com"))
    place = nodes("younger", "only")
    ready(own, place)
    kube.patch(resources.MIRROR, "older", {"spec": {"masqueradeUrl": "younger.example.com"}})
    kube.until_condition("younger", "NodesConfigured", "False", "MasqueradeConflict")
    until(place.told_to_clean, why="the agents are told")
    kube.get(resources.DAEMON_SET, "registry-mirror-younger")
    place.agents["only"].say(*CLEANED)
    kube.until_gone(resources.DAEMON_SET, "registry-mirror-younger")
    assert place.told_to_clean(), "an agent that is about to end must not begin anew"
    kube.patch(resources.MIRROR, "older", {"spec": {"masqueradeUrl": "older.example.com"}})
    kube.until_there(resources.DAEMON_SET, "registry-mirror-younger")
    assert not place.told_to_clean()


@pytest.mark.parametrize("own", [4], indirect=True)
def test_a_mirror_that_loses_its_host_name_does_not_wait_for_a_dead_node_for_ever(
    own: Running, nodes: Callable[..., Nodes]
) -> None:
    kube = own.kube
    kube.mirror(one("older").known_as("older.example.com"))
    kube.until_there(resources.DAEMON_SET, "registry-mirror-older")
    created = kube.get(resources.MIRROR, "older")["metadata"]["creationTimestamp"]
    until(lambda: _clock(kube) > created, why="the next second")
    kube.mirror(one("younger").known_as("younger.example.com"))
    place = nodes("younger", "alive", "dead")
    ready(own, place)
    place.agents["dead"].stop()
    place.report("dead", ready=False)
    began = time.monotonic()
    kube.patch(resources.MIRROR, "older", {"spec": {"masqueradeUrl": "younger.example.com"}})
    until(place.told_to_clean, why="the agents are told")
    place.agents["alive"].say(*CLEANED)
    kube.until_gone(resources.DAEMON_SET, "registry-mirror-younger")
    assert time.monotonic() - began > 3
    notes = lambda: [each[2] for each in kube.events("younger") if each[1] == "NodesNotCleaned"]  # noqa: E731
    (note,) = until(notes, why="an Event")
    assert "not known to be clean: dead." in note
