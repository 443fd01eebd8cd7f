"""Test that `kubectl registry-mirror doctor` finds each fault that is visible in a cluster.

The nodes have no kubelet: a test reports what one would. The rest is real.
"""

from __future__ import annotations

import io
import json
import shlex
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from cli.doctor import snapshot
from cli.kubectl import Kubectl
from cli.session import Session
from common.names import short_hash
from controller.objects import resources
from tests.cache.behaviour import Behaviour
from tests.support.agents import Agent, Nodes
from tests.support.caches import running_caches
from tests.support.components import (
    POD,
    create_node_with_capacity,
    create_storage_class,
    create_volumes,
    make_pods_ready,
    pods_of,
    set_capacity,
)
from tests.support.faults import one
from tests.support.kube import NAMESPACE, Kube, until
from tests.support.plugin import Plugin
from tests.support.protection import unprotect
from tests.support.registries import running_registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from common.types import Json
    from tests.cluster.conftest import Running
    from tests.support.certificates import Issuer

CLASS = "by-hand"
QUOTA = resources.Kind("v1", "resourcequotas", "ResourceQuota")
CORE_EVENT = resources.Kind("v1", "events", "Event")


@pytest.fixture(scope="module")
def running(trusting: Running) -> Running:
    """Return a system of its own: findings are about the whole cluster."""
    create_storage_class(trusting.kube, CLASS, growing=True)
    create_node_with_capacity(trusting.kube, "first")
    trusting.system.start()
    return trusting


@pytest.fixture(scope="module")
def plugin(running: Running, tmp_path_factory: pytest.TempPathFactory) -> Plugin:
    """Return the plugin of the cluster."""
    return Plugin.installed(running.cluster, tmp_path_factory.mktemp("plugin"))


@pytest.fixture
def kube(running: Running) -> Kube:
    """Return the administrator's client."""
    return running.kube


@pytest.fixture
def name(running: Running, request: pytest.FixtureRequest) -> Iterator[str]:
    """Yield a name for the mirror of one test, which is deleted at the end."""
    made = f"m{short_hash(request.node.name)}"
    yield made
    if running.kube.find(resources.MIRROR, made):
        running.kube.kubectl("delete", "rm", made, "--wait=false")
        running.kube.kubectl("patch", "rm", made, "--type=merge", "-p", '{"metadata": {"finalizers": null}}')


def findings(plugin: Plugin, subject: str = "") -> list[Json]:
    """Return the findings about an object, or about all."""
    done = plugin.run("doctor", "-o", "json")
    assert done.returncode in (0, 1), done.stderr
    found: list[Json] = json.loads(done.stdout)["items"]
    assert done.returncode == int(bool(found))
    return [each for each in found if subject in each["object"]]


def found(plugin: Plugin, subject: str, reason: str) -> Json:
    """Return a finding after it exists. Each has an action."""
    seen: list[Json] = []

    def finding() -> Json | None:
        seen[:] = findings(plugin, subject)
        return next((each for each in seen if each["reason"] == reason), None)

    result = until(finding, why=f"{reason} of {subject}; {seen}", seconds=40)
    assert result is not None
    assert result["message"]
    assert result["action"]
    return result


@pytest.fixture
def agent(kube: Kube, name: str) -> Iterator[Agent]:
    """Yield the agent of a mirror whose caches are ready."""
    kube.mirror(one(name))
    group = Nodes(kube, name, {"first": Agent("first")}).run()
    make_pods_ready(kube, name, "registry", 2)
    yield group.agents["first"]
    group.stop()


@pytest.mark.parametrize(
    "says",
    [
        ("unverified", "RuntimeNotVerified", "containerd imports /opt/x.toml, which the agent cannot read."),  # K1
        ("blocked", "MirrorUnreachable", "The mirror does not answer at 10.96.0.9."),  # K1
        ("blocked", "RuntimeIgnoresCerts", "Set config_path in /etc/containerd/config.toml."),  # K1
        ("blocked", "RuntimeUsesMirrors", "config.toml has registry.mirrors."),  # K3
        ("blocked", "ExistingHostsToml", "quay.io/hosts.toml was there before."),  # K5
        ("blocked", "HostsFileUnwritable", "/etc/hosts is larger than 1 MiB."),  # K5
        ("blocked", "NodeFilesUnwritable", "/etc/containerd/certs.d is read-only."),  # K4
    ],
)
def test_fault_of_a_node_is_found(
    plugin: Plugin, kube: Kube, name: str, agent: Agent, says: tuple[str, str, str]
) -> None:
    state, reason, text = says
    agent.say(state, reason, text)
    kube.until_condition(name, "NodesConfigured", "Unknown" if state == "unverified" else "False", reason)
    finding = found(plugin, f"registrymirror/{name}", reason)
    assert "first" in finding["message"]
    assert text.rstrip(".") in finding["message"]


def test_lost_caches_are_found(plugin: Plugin, kube: Kube, name: str, agent: Agent) -> None:
    """K1: the nodes pull from the upstream."""
    agent.say("configured", "Configured", "The node is configured.")
    kube.until_condition(name, "CacheAvailable", "True", "AllReplicasReady")
    for pod in pods_of(kube, name, "registry"):
        condition = {"type": "Ready", "status": "False"}
        kube.patch(POD, pod["metadata"]["name"], {"status": {"conditions": [condition]}}, subresource="status")
    assert "from the upstream" in found(plugin, f"registrymirror/{name}", "NoReplicaReady")["message"]


def test_masquerade_of_the_upstream_is_found(plugin: Plugin, kube: Kube, name: str) -> None:
    """K2: the webhook has warned once, at admission."""
    kube.mirror(one(name).of("docker.io").known_as("docker.io"))
    until(lambda: (kube.find(resources.MIRROR, name) or {}).get("status"), why="a status")
    assert "docker.io" in found(plugin, f"registrymirror/{name}", "MasqueradeIsUpstream")["message"]


@pytest.mark.parametrize("resource", ["persistentvolumeclaims", "pods"])
def test_quota_is_found(plugin: Plugin, kube: Kube, name: str, resource: str) -> None:
    """K4: the StatefulSet knows the reason."""
    kube.create(QUOTA, {"metadata": {"name": "none"}, "spec": {"hard": {resource: "0"}}})
    try:
        until(lambda: kube.get(QUOTA, "none").get("status", {}).get("hard"), why="the quota counts")
        kube.mirror(one(name))
        finding = found(plugin, f"statefulset/registry-mirror-{name}", "FailedCreate")
        assert "exceeded quota: none" in finding["message"]
    finally:
        kube.delete(QUOTA, "none")


def test_node_without_room_is_found(plugin: Plugin, kube: Kube, name: str) -> None:
    """K4 and K7: the scheduler knows the reason, and the node is named."""
    create_node_with_capacity(kube, "full")
    set_capacity(kube, "full", pods=0)
    try:
        create_volumes(kube, CLASS, [f"{name}-{number}" for number in (0, 1)], "20Gi")
        kube.mirror(
            one(name).on_class(CLASS).having("spec.cache", {"nodeSelector": {"kubernetes.io/hostname": "full"}})
        )
        found(plugin, f"pod/registry-mirror-{name}-0", "Unschedulable")
        agents = found(plugin, f"registrymirror/{name}", "NodesPending")
        assert agents["severity"] == "error"
        assert "full" in agents["message"]
    finally:
        kube.kubectl("delete", "node", "full")


@pytest.mark.parametrize(
    ("reason", "message", "action"),
    [
        ("ImagePullBackOff", 'Back-off pulling image "x"', "IMAGE_PULL_SECRETS"),
        ("CrashLoopBackOff", "back-off 5m0s restarting", "logs"),
        ("CreateContainerError", "mkdir /etc/containerd: read-only file system", "read-only"),
    ],
)
def test_container_that_waits_is_found(
    plugin: Plugin, kube: Kube, name: str, reason: str, message: str, action: str
) -> None:
    """K4: the kubelet knows the reason."""
    kube.mirror(one(name))
    pod = until(lambda: pods_of(kube, name, "registry"), why="a pod")[0]["metadata"]["name"]
    status = {"name": "cache", "image": "x", "imageID": "", "ready": False, "restartCount": 3}
    waiting = {"state": {"waiting": {"reason": reason, "message": message}}}
    kube.patch(POD, pod, {"status": {"containerStatuses": [status | waiting]}}, subresource="status")
    finding = found(plugin, f"pod/{pod}", reason)
    assert message in finding["message"]
    assert action in finding["action"]


def test_mount_that_fails_is_found(plugin: Plugin, kube: Kube, name: str) -> None:
    """K4: the kubelet posts an Event alone."""
    kube.mirror(one(name))
    agents = Nodes(kube, name, {}).pods
    until(lambda: "first" in agents(), why="the agent's pod is scheduled")
    pod = agents()["first"]["metadata"]["name"]
    message = "MountVolume.SetUp failed: read-only file system"
    kube.create(
        CORE_EVENT,
        {
            "metadata": {"name": f"{pod}.1"},
            "involvedObject": {"kind": "Pod", "namespace": NAMESPACE, "name": pod},
            "type": "Warning",
            "reason": "FailedMount",
            "message": message,
            "lastTimestamp": kube.get(POD, pod)["metadata"]["creationTimestamp"],
        },
    )
    assert message in found(plugin, f"pod/{pod}", "FailedMount")["message"]


def test_missing_storage_class_is_found(plugin: Plugin, kube: Kube, name: str) -> None:
    kube.mirror(one(name).on_class("nowhere"))
    finding = found(plugin, f"persistentvolumeclaim/image-store-registry-mirror-{name}-0", "NoStorageClass")
    assert "nowhere" in finding["message"]


@pytest.mark.slow
def test_upstream_that_is_no_registry_is_found(plugin: Plugin, running: Running, issuer: Issuer, name: str) -> None:
    """K8: what the cache was answered decides."""
    with running_registry(issuer) as registry:
        registry.does = Behaviour(html=True)
        running.kube.mirror(one(name).of(registry.url).known_as(f"{name}.example.com").replicated(1))
        with running_caches(running, name):
            running.kube.until_condition(name, "UpstreamReachable", "False", "NotARegistry", seconds=40)
            finding = found(plugin, f"registrymirror/{name}", "NotARegistry")
            assert finding["message"].startswith("UpstreamReachable: ")


def test_missing_deployments_are_found(plugin: Plugin) -> None:
    """The programs of this test are no pods."""
    shown = plugin.run("doctor")
    assert shown.returncode == 1
    assert "ERROR   deployment/registrymirror-controller  DeploymentMissing\n" in shown.stdout
    assert "  -> Install the system as before. With Helm: helm upgrade --install registry-mirror" in shown.stdout


def test_user_with_few_rights_gets_a_hint(plugin: Plugin, kube: Kube) -> None:
    kube.kubectl("create", "rolebinding", "doctor", "--clusterrole=view", "--user=viewer", "-n", NAMESPACE)
    done = plugin.run("doctor", "-n", NAMESPACE, kubeconfig=plugin.cluster.kubeconfig_for("viewer"))
    assert done.returncode == 2, "the mirrors were not checked"
    hint = done.stderr.splitlines()[-1]
    assert hint.startswith("Not checked, because you may not list it: ")
    for kind in ("admission", "customresourcedefinitions", "nodes", "registrymirrors"):
        assert kind in hint


def test_time_is_that_of_the_api_server(plugin: Plugin) -> None:
    """The clock of this machine is off by years. Each user may ask for the API server's time."""
    flags = (f"--kubeconfig={plugin.cluster.kubeconfig_for('clock')}",)
    kubectl = Kubectl(flags, str(plugin.folder / "kubectl"))
    year_2000 = datetime(2000, 1, 1, tzinfo=UTC)
    taken = snapshot.take(Session(kubectl, io.StringIO(), io.StringIO(), given_namespace=NAMESPACE, now=year_2000))
    assert abs(taken.now - datetime.now(UTC)) < timedelta(minutes=1)


@pytest.mark.slow
def test_interrupted_removal_is_found(fresh: Callable[..., Running]) -> None:
    """K11: everything is deleted at once, and the controller is gone before it has finished."""
    running = fresh()
    kube = running.kube
    plugin = Plugin.installed(running.cluster, running.cluster.folder / "plugin")
    running.system.start()
    kube.mirror(one("docker"))
    make_pods_ready(kube, "docker", "registry", 2)
    kube.until_condition("docker", "CacheAvailable", "True", "AllReplicasReady")
    assert findings(plugin, "registrymirrors.k8s.osp.tech") == []
    running.system.stop()

    kube.kubectl("delete", "statefulset", "-n", NAMESPACE, "--all")
    assert found(plugin, "registrymirror/docker", "ObjectsMissing")
    unreachable = found(plugin, "deployment/registrymirror-webhook", "WebhookUnreachable")
    assert "failed calling webhook" in unreachable["message"]
    unprotect(running.cluster)
    kube.kubectl("delete", "crd", "registrymirrors.k8s.osp.tech", "--wait=false")
    kube.kubectl("delete", "namespace", NAMESPACE, "--wait=false")
    kube.kubectl("delete", "validatingwebhookconfiguration", "registrymirror")
    assert "finalizers" in found(plugin, "customresourcedefinition/", "KindTerminating")["action"]
    assert found(plugin, "validatingwebhookconfiguration/", "NotRegistered")
    stuck = found(plugin, "registrymirror/docker", "Deleting")
    until(lambda: findings(plugin, f"namespace/{NAMESPACE}"), why="the namespace is missing or terminating")
    (command,) = [each for each in stuck["action"].split("finalizer: ") if each.startswith("kubectl patch")]
    program, *arguments = shlex.split(command)
    assert program == "kubectl"
    assert "patched" in kube.kubectl(*arguments), "the advice works as it is written"
    found(plugin, "customresourcedefinition/", "KindMissing")
    unprivileged = plugin.run("doctor", kubeconfig=running.cluster.kubeconfig_for("viewer"))
    assert unprivileged.returncode == 1
    assert "KindMissing" in unprivileged.stdout
