"""K4: conditions say why pods of a mirror do not exist or do not run. Each cause is one object further down."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from controller.objects import resources
from controller.objects.resources import Kind
from tests.cluster.conftest import clusters
from tests.support import policies
from tests.support.agents import Agent, Nodes
from tests.support.components import (
    create_node_with_capacity,
    create_storage_class,
    create_volumes,
    pods_of,
    set_capacity,
    set_pod_ready,
)
from tests.support.kube import NAMESPACE, Kube, until
from tests.support.mirrors import a_mirror

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from common.types import Json

QUOTA = Kind("v1", "resourcequotas", "ResourceQuota")
LIMITS = Kind("v1", "limitranges", "LimitRange")
NODE = "room"
SOON = 60.0  # seconds; 5 are usual
RETRY = 120.0  # seconds until Kubernetes tries to create pods again


@pytest.fixture(scope="module")
def kube(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kube]:
    """Yield the client of a cluster with one node, whose limits no other test has."""
    with clusters(request, tmp_path_factory) as make:
        running = make(NODE_CLEANUP_DEADLINE="4")  # seconds: no agent of these tests cleans its node
        running.system.start()
        create_node_with_capacity(running.kube, NODE)
        yield running.kube


@pytest.fixture
def name(kube: Kube, request: pytest.FixtureRequest) -> Iterator[str]:
    """Yield the name of the test's mirror, which is deleted at the end."""
    name = f"m{abs(hash(request.node.name)) % 10**6}"
    yield name
    kube.delete(resources.MIRROR, name)
    kube.until_gone(resources.STATEFUL_SET, f"registry-mirror-{name}")


def quota(**hard: str) -> Callable[[Kube], tuple[Kind, str]]:
    return _limit(QUOTA, {"hard": {key.replace("_", "."): value for key, value in hard.items()}})


def _limit(kind: Kind, spec: Json) -> Callable[[Kube], tuple[Kind, str]]:
    def create(kube: Kube) -> tuple[Kind, str]:
        kube.create(kind, {"metadata": {"name": "limit"}, "spec": spec}, NAMESPACE)
        return kind, "limit"

    return create


def says(kube: Kube, mirror: str, *words: str, kind: str = "CacheAvailable", seconds: float = SOON) -> str:
    """Wait until the message of a condition has these words; return the reason."""

    def reason() -> str:
        _, reason, message = kube.conditions(mirror).get(kind, ("", "", ""))
        return reason if all(word in message for word in words) else ""

    return until(reason, why=f"{kind} of {mirror} says {words}; {kube.conditions(mirror)}", seconds=seconds)


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        (quota(limits_cpu="2"), ("FailedCreate", "must specify limits.cpu")),
        (quota(pods="0"), ("FailedCreate", "exceeded quota: limit", "pods=1")),
        (quota(persistentvolumeclaims="0"), ("FailedCreate", "exceeded quota: limit", "persistentvolumeclaims=1")),
        (
            _limit(LIMITS, {"limits": [{"type": "Container", "min": {"memory": "1Gi"}}]}),
            ("FailedCreate", "minimum memory usage per Container is 1Gi"),
        ),
    ],
    ids=["limits.cpu", "pods", "persistentvolumeclaims", "LimitRange"],
)
def test_limit_of_the_namespace_is_named(
    kube: Kube, name: str, limit: Callable[[Kube], tuple[Kind, str]], words: tuple[str, ...]
) -> None:
    """After the limit is lifted the condition follows."""
    created, label = limit(kube)
    try:
        kube.mirror(a_mirror().named(name).of(f"{name}.example.com"))
        assert says(kube, name, f"StatefulSet registry-mirror-{name}", *words) == "NoReplicaReady"
    finally:
        kube.delete(created, label)
    pods = until(lambda: _two(pods_of(kube, name, "registry")), why="the pods exist", seconds=RETRY)
    for pod in pods:
        set_pod_ready(kube, pod, ready=True)
    message = kube.until_condition(name, "CacheAvailable", "True", "AllReplicasReady")
    assert message == "2 of 2 cache pods are ready."


def test_admission_policy_is_named(kube: Kube, name: str) -> None:
    """K4: a policy of another administrator refuses the pods of agents and caches."""
    policies.refuse(kube, name, policies.rule("", "pods", "CREATE"), f"!object.metadata.name.contains('{name}')")
    until(
        lambda: "denied" in kube.kubectl("run", f"x-{name}", "--image=x", "-n", NAMESPACE, "--dry-run=server"),
        why="it acts",
    )
    try:
        kube.mirror(a_mirror().named(name).of(f"{name}.example.com"))
        says(kube, name, "FailedCreate", f"ValidatingAdmissionPolicy '{name}'")
        says(kube, name, "FailedCreate", f"ValidatingAdmissionPolicy '{name}'", kind="NodesConfigured")
    finally:
        policies.lift(kube, name)


def test_full_node_is_named(kube: Kube, name: str) -> None:
    set_capacity(kube, NODE, pods=0)
    try:
        kube.mirror(a_mirror().named(name).of(f"{name}.example.com"))
        says(kube, name, f"Pod registry-mirror-{name}-0", "FailedScheduling", "0/1 nodes are available")
    finally:
        set_capacity(kube, NODE, pods=100)


def test_missing_storage_class_is_named(kube: Kube, name: str) -> None:
    """The Pending pod names no cause, and the Event of its claim does."""
    kube.mirror(a_mirror().named(name).of(f"{name}.example.com").on_class("nowhere"))
    claim = f"PersistentVolumeClaim image-store-registry-mirror-{name}-0"
    says(kube, name, claim, "ProvisioningFailed", '"nowhere" not found')


def test_image_and_last_words_are_named(kube: Kube, name: str) -> None:
    """A mirror that served posts a Warning when it stops."""
    kube.mirror(a_mirror().named(name).of(f"{name}.example.com"))
    first, second = until(lambda: _two(pods_of(kube, name, "registry")), why="two pods", seconds=SOON)
    for pod in (first, second):
        set_pod_ready(kube, pod, ready=True)
    kube.until_condition(name, "CacheAvailable", "True", "AllReplicasReady")
    waiting = {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "x": not found'}
    ended = {"exitCode": 1, "reason": "Error", "message": '{"error": "No space left on device"}'}
    _container_of(kube, first, {"state": {"waiting": waiting}})
    says(kube, name, "1 of 2 cache pods are ready", "ImagePullBackOff", "not found")
    crashing = {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": ended}}
    _container_of(kube, second, crashing)
    assert "ImagePullBackOff" in kube.until_condition(name, "CacheAvailable", "False", "NoReplicaReady")
    assert "ImagePullBackOff" in kube.until_event(name, "Warning", "NoReplicaReady")
    set_pod_ready(kube, first, ready=True)
    says(kube, name, "CrashLoopBackOff: exit code 1", "No space left on device")


@pytest.mark.slow
def test_pod_of_a_dead_node_is_named(kube: Kube, name: str) -> None:
    """Kubernetes deletes the pods of a node that died, and no kubelet confirms it."""
    create_storage_class(kube, name, growing=False)
    create_volumes(kube, name, [name], "20Gi")
    everywhere = [{"operator": "Exists"}]  # Kubernetes taints a node without a kubelet after some time
    mirror = a_mirror().named(name).of(f"{name}.example.com").on_class(name).replicated(1)
    kube.mirror(mirror.placing_caches(tolerations=everywhere))
    (pod,) = until(lambda: pods_of(kube, name, "registry"), why="one pod", seconds=SOON)
    until(lambda: kube.get(resources.POD, pod["metadata"]["name"])["spec"].get("nodeName"), why="a node", seconds=RETRY)
    set_pod_ready(kube, pod, ready=True)
    kube.until_condition(name, "CacheAvailable", "True", "AllReplicasReady")
    set_pod_ready(kube, pod, ready=False)
    kube.delete(resources.POD, pod["metadata"]["name"], gracePeriodSeconds=1)
    words = (f"Pod registry-mirror-{name}-0 on {NODE}", "Terminating", "If the node is gone, delete the Node")
    assert says(kube, name, *words, seconds=RETRY) == "NoReplicaReady"
    kube.delete(resources.POD, pod["metadata"]["name"], gracePeriodSeconds=0)
    until(lambda: "Terminating" not in kube.conditions(name)["CacheAvailable"][2], why="it is gone", seconds=RETRY)


def test_mount_that_fails_is_named(kube: Kube, name: str) -> None:
    """A read-only /etc stands in an Event of the agent's pod alone."""
    kube.mirror(a_mirror().named(name).of(f"{name}.example.com"))
    (pod,) = until(lambda: pods_of(kube, name, "hostess-certificate"), why="an agent", seconds=SOON)
    metadata = pod["metadata"]
    about = {"kind": "Pod", "name": metadata["name"], "uid": metadata["uid"], "namespace": NAMESPACE}
    message = 'MountVolume.SetUp failed for volume "etc-hosts-backup": mkdir /etc/mirror-hostess: read-only file system'
    event = {
        "metadata": {"generateName": "mount-"},
        "involvedObject": about,
        "type": "Warning",
        "reason": "FailedMount",
        "message": message,
        "lastTimestamp": metadata["creationTimestamp"],
    }
    kube.create(resources.CORE_EVENT, event, NAMESPACE)
    says(kube, name, f"on {NODE}", "FailedMount", "read-only file system", kind="NodesConfigured")


def test_killed_agent_is_named(kube: Kube, name: str) -> None:
    """The pod keeps its address, at which nothing answers."""
    kube.mirror(a_mirror().named(name).of(f"{name}.example.com"))
    (pod,) = until(lambda: pods_of(kube, name, "hostess-certificate"), why="an agent", seconds=SOON)
    set_pod_ready(kube, pod, ready=False, address="127.0.0.9")
    ended = {"exitCode": 137, "reason": "OOMKilled"}
    _container_of(kube, pod, {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": ended}})
    says(kube, name, f"on {NODE}", "CrashLoopBackOff: OOMKilled, exit code 137", kind="NodesConfigured")
    assert "network policies" not in kube.conditions(name)["NodesConfigured"][2]


def test_missing_dialer_is_explained(kube: Kube, name: str) -> None:
    """The agents see no dialer. Its DaemonSet cannot create pods, and its Events have the cause."""
    _, dialer = yaml.safe_load_all((Path(__file__).parents[2] / "deploy" / "dialer.yaml").read_text())
    dialer["metadata"]["namespace"] = NAMESPACE
    dialer["spec"]["template"]["spec"] |= {"serviceAccountName": "missing"}
    dialer["spec"]["template"]["spec"].pop("priorityClassName")
    kube.create(resources.DAEMON_SET, dialer, NAMESPACE)
    kube.mirror(a_mirror().named(name).of(f"{name}.example.com"))
    nodes = Nodes(kube, name, {NODE: Agent(NODE)})
    try:
        nodes.agents[NODE].say("unverified", "NodeNetworkNotProbed", "no dialer answers.")
        nodes.run()
        words = ("DaemonSet registrymirror-dialer: FailedCreate", 'serviceaccount "missing" not found', "no dialer")
        assert says(kube, name, *words, kind="NodesConfigured") == "NodeNetworkNotProbed"
    finally:
        nodes.stop()
        kube.delete(resources.DAEMON_SET, "registrymirror-dialer")


def _two(pods: list[Json]) -> list[Json]:
    return sorted(pods, key=lambda pod: str(pod["metadata"]["name"])) if len(pods) == 2 else []


def _container_of(kube: Kube, pod: Json, state: Json) -> None:
    set_pod_ready(kube, pod, ready=False)
    container = {"name": "cache", "image": "x", "imageID": "", "ready": False, "restartCount": 0, **state}
    kube.patch(
        resources.POD, pod["metadata"]["name"], {"status": {"containerStatuses": [container]}}, subresource="status"
    )
