"""Test the conditions while pods and nodes come and go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.objects import resources
from tests.support import policies
from tests.support.components import NODE, create_node_with_capacity, make_pods_ready, pods_of, set_pod_ready
from tests.support.kube import NAMESPACE, Kube, until
from tests.support.mirrors import a_mirror

if TYPE_CHECKING:
    from tests.support.mirrors import MirrorBuilder


def one(name: str) -> MirrorBuilder:
    """Return a mirror with host names of its own."""
    return a_mirror().named(name).of(f"{name}.example.com")


def test_new_mirror_waits_for_pods(kube: Kube, name: str) -> None:
    kube.mirror(one(name))
    kube.until_condition(name, "CacheAvailable", "False", "NoReplicaReady")
    conditions = {kind: (status, reason) for kind, (status, reason, _) in kube.conditions(name).items()}
    assert conditions["Accepted"] == ("True", "Valid")
    assert conditions["CredentialsAvailable"] == ("True", "NotRequired")
    assert conditions["UpstreamReachable"] == ("Unknown", "NotAsked")
    assert conditions["StorageResized"] == ("Unknown", "ClaimsPending")
    assert conditions["Ready"] == ("False", "NoReplicaReady")


def test_ready_follows_pods(kube: Kube, name: str) -> None:
    kube.mirror(one(name))
    make_pods_ready(kube, name, "registry", 1)
    message = kube.until_condition(name, "CacheAvailable", "True", "SomeReplicasReady")
    assert message == "1 of 2 cache pods are ready."
    make_pods_ready(kube, name, "registry", 2)
    kube.until_condition(name, "CacheAvailable", "True", "AllReplicasReady")
    printed = kube.kubectl("wait", "--for=condition=Ready", f"rm/{name}", "--timeout=20s")
    assert printed == f"registrymirror.k8s.osp.tech/{name} condition met\n"
    status = kube.get(resources.MIRROR, name)["status"]
    assert (status["replicas"], status["readyReplicas"]) == (2, 2)
    kube.until_event(name, "Normal", "Ready")

    for pod in pods_of(kube, name, "registry"):
        set_pod_ready(kube, pod, ready=False)
    kube.until_condition(name, "Ready", "False", "NoReplicaReady")


def test_nodes_are_counted(kube: Kube, name: str) -> None:
    nodes = [f"{name}-node-{number}" for number in (1, 2)]
    for node in nodes:
        create_node_with_capacity(kube, node)
    try:
        kube.mirror(one(name))
        message = kube.until_condition(name, "NodesConfigured", "False", "NodesPending")
        assert "0 of 2 nodes are configured." in until(
            lambda: _containing("of 2 nodes", kube.conditions(name)["NodesConfigured"][2]), why="both are counted"
        ), message
        make_pods_ready(kube, name, "hostess-certificate", 2)
        message = kube.until_condition(name, "NodesConfigured", "True", "NodesUseUpstream")
        assert message == "No cache pod serves the upstream. Nodes pull from the upstream."
        assert kube.get(resources.MIRROR, name)["status"]["nodes"] == {"desired": 2, "ready": 2}
    finally:
        for node in nodes:
            kube.delete(NODE, node)


def test_dead_cache_posts_warning(kube: Kube, name: str) -> None:
    """All cache pods of a Ready mirror die: conditions and a Warning state where pulls go."""
    node = f"{name}-node"
    create_node_with_capacity(kube, node)
    try:
        kube.mirror(one(name).replicated(1))
        make_pods_ready(kube, name, "registry", 1)
        make_pods_ready(kube, name, "hostess-certificate", 1)
        message = kube.until_condition(name, "NodesConfigured", "True", "AllNodesReady")
        assert message == "1 of 1 nodes use the mirror."
        kube.until_condition(name, "Ready", "True", "Ready")
        warnings = [each for each in kube.events(name) if each[0] == "Warning"]
        assert warnings == []

        for pod in pods_of(kube, name, "registry"):
            kube.delete(resources.POD, pod["metadata"]["name"], gracePeriodSeconds=0)
        message = kube.until_condition(name, "CacheAvailable", "False", "NoReplicaReady")
        assert message.startswith("None of 1 cache pods is ready. Nodes pull from the upstream.")
        kube.until_condition(name, "NodesConfigured", "True", "NodesUseUpstream")
        assert "Nodes pull from the upstream." in kube.until_condition(name, "Ready", "False", "NoReplicaReady")
        lost = [("Warning", "NoReplicaReady", message)]
        until(lambda: [each for each in kube.events(name) if each[0] == "Warning"] == lost, why="an Event")
    finally:
        kube.delete(NODE, node)


def _containing(part: str, text: str) -> str:
    return text if part in text else ""


def test_printer_columns(kube: Kube, name: str) -> None:
    kube.mirror(one(name))
    kube.until_condition(name, "Ready", "False", "NoReplicaReady")
    header, row = kube.kubectl("get", "rm", name).splitlines()
    assert header.split() == ["NAME", "UPSTREAM", "MASQUERADE", "READY", "REASON", "CACHE", "NODES", "AGE"]
    assert row.split()[:5] == [
        name,
        f"https://{name}.example.com",
        f"mirror-{name}.example.com",
        "False",
        "NoReplicaReady",
    ]


def test_transition_time_changes_with_status_only(kube: Kube, name: str) -> None:
    kube.mirror(one(name))
    kube.until_condition(name, "CacheAvailable", "False", "NoReplicaReady")
    kube.until_condition(name, "NodesConfigured", "Unknown", "NoNodes")
    before = {each["type"]: each for each in kube.get(resources.MIRROR, name)["status"]["conditions"]}
    kube.patch(resources.MIRROR, name, {"spec": {"replicas": 3}})
    until(
        lambda: "None of 3" in kube.conditions(name).get("CacheAvailable", ("", "", ""))[2], why="the message follows"
    )
    after = {each["type"]: each for each in kube.get(resources.MIRROR, name)["status"]["conditions"]}
    for kind, condition in after.items():
        assert condition["lastTransitionTime"] == before[kind]["lastTransitionTime"]
        assert condition["observedGeneration"] == 2


def test_refused_object_is_retried(kube: Kube, name: str) -> None:
    quota = resources.Kind("v1", "resourcequotas", "ResourceQuota")
    statefulsets = {"hard": {"count/statefulsets.apps": "0"}}
    kube.create(quota, {"metadata": {"name": name}, "spec": statefulsets})
    until(lambda: kube.get(quota, name).get("status", {}).get("hard"), why="the quota is counted")
    kube.mirror(one(name))
    message = kube.until_condition(name, "Reconciled", "False", "ApplyFailed")
    assert "exceeded quota" in message
    assert "exceeded quota" in kube.until_condition(name, "CacheAvailable", "False", "NoReplicaReady")
    kube.until_event(name, "Warning", "ApplyFailed")
    kube.delete(quota, name)
    # A change of the mirror reconciles it at once; otherwise it takes up to a minute.
    kube.patch(resources.MIRROR, name, {"metadata": {"annotations": {"try": "again"}}})
    kube.until_condition(name, "Reconciled", "True", "Reconciled")
    assert kube.get(resources.STATEFUL_SET, f"registry-mirror-{name}")


def test_refusal_leaves_serving_caches_available(kube: Kube, name: str) -> None:
    """An alert about caches must not fire: the nodes pull through them."""
    kube.mirror(one(name))
    make_pods_ready(kube, name, "registry", 2)
    kube.until_condition(name, "CacheAvailable", "True", "AllReplicasReady")
    service = f"registry-mirror-{name}"
    policies.refuse(kube, name, policies.rule("", "services", "UPDATE", name=service))
    change = ("annotate", "service", service, "-n", NAMESPACE, "a=b", "--dry-run=server")
    until(lambda: "denied" in kube.kubectl(*change), why="the policy acts")
    kube.patch(resources.MIRROR, name, {"spec": {"cache": {"labels": {"team": "a"}}}})
    message = kube.until_condition(name, "Reconciled", "False", "ApplyFailed")
    assert f"ValidatingAdmissionPolicy '{name}'" in message
    assert kube.condition(name, "CacheAvailable")[0] == "True"
    assert kube.condition(name, "Ready") == ("False", "ApplyFailed")
    policies.lift(kube, name)
    until(lambda: "denied" not in kube.kubectl(*change), why="the policy is gone")
    kube.patch(resources.MIRROR, name, {"metadata": {"annotations": {"try": "again"}}})
    kube.until_condition(name, "Reconciled", "True", "Reconciled")
    assert kube.get(resources.SERVICE, service)["metadata"]["labels"]["team"] == "a"
