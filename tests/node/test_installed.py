"""The system as pods of its own images, installed as the README says, and what can be put in a cache's way."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from deploy.local.node import dockerfiles, impostor, onpaper
from deploy.local.node.installed import NAMESPACE, Installed
from deploy.local.node.upstream import PUBLIC, Upstream
from tests.support.pods import a_pod, eventually, runs

if TYPE_CHECKING:
    from deploy.local.node.node import Node

TOKEN = "/var/run/secrets/kubernetes.io"
LIMITS = {"webhook": 120_000_000, "controller": 120_000_000, "hostess": 80_000_000}  # bytes, unpacked, over the base


@pytest.fixture(scope="module")
def system(node: Node) -> Installed:
    """The system, installed."""
    return Installed(node).install()


@pytest.fixture(scope="module")
def address(node: Node, system: Installed) -> str:
    """The cluster IP of a mirror of an upstream that is there, when it is Ready."""
    node.add_volumes(1)
    Upstream(node, "world.local.test", authority=PUBLIC).prepare().start().push("lib/test:1")
    spec = {"upstreamUrl": "world.local.test", "replicas": 1}
    node.apply([{"apiVersion": "k8s.osp.tech/v1", "kind": "RegistryMirror", "metadata": {"name": "m"}, "spec": spec}])
    system.kubectl("wait", "--for=condition=Ready", "rm/m", "--timeout=60s")
    return system.kubectl("get", "service", "registry-mirror-m", "-o", "jsonpath={.spec.clusterIP}")


def status(node: Node, address: str, *options: str) -> int:
    """Ask a mirror; 0 where there is no answer within two seconds."""
    command = ("curl", "--silent", "--max-time", "2", "--output", "/dev/null", "--write-out", "%{http_code}", *options)
    return int(node.run(*command, f"https://{address}/v2/", check=False).stdout)


@pytest.mark.parametrize("program", LIMITS)
def test_the_images_are_small(program: str) -> None:
    """As figures in the README say."""
    assert dockerfiles.unpacked_over_base(dockerfiles.build(program)) < LIMITS[program]


def test_the_webhook_holds_no_token(node: Node, system: Installed) -> None:
    """There is nothing in its file system to talk to the API server with."""
    label = "app.kubernetes.io/name=registrymirror-webhook"
    for pod in json.loads(system.kubectl("get", "pods", "-l", label, "-o", "json"))["items"]:
        (pid,) = impostor.processes(node, pod["metadata"]["name"], NAMESPACE)
        assert node.exists(f"/proc/{pid}/root/etc/registrymirror-webhook/tls.crt")
        assert not node.exists(f"/proc/{pid}/root{TOKEN}")


def test_a_cache_serves_its_upstream(node: Node, address: str) -> None:
    """Over the Service, from a pod of the registry's image, which reaches the upstream by name and trusts it."""
    ask = ("curl", "--silent", "--insecure", "--header", "Accept: application/vnd.oci.image.manifest.v1+json")
    assert "config" in json.loads(node.run(*ask, f"https://{address}/v2/lib/test/manifests/1").stdout)


def test_an_impostor_stands_in_the_place_of_a_cache(node: Node, address: str) -> None:
    """For as long as the block lasts: one that hangs, one that is somebody else."""
    assert status(node, address, "--insecure") == 200
    with impostor.impostor(node, address, fault="hang"):
        assert node.answers(address, 443)
        assert status(node, address, "--insecure") == 0
    with impostor.impostor(node, address, fault=200):
        assert status(node, address, "--insecure") == 200
        assert status(node, address, "--cacert", str(node.cluster.ca_file)) == 0
    assert status(node, address, "--insecure") == 200


def test_a_frozen_cache_takes_connections_and_says_nothing(node: Node, address: str) -> None:
    """Until it is thawed."""
    with impostor.frozen(node, "registry-mirror-m-0"):
        assert node.answers(address, 443)
        assert status(node, address, "--insecure") == 0
    assert eventually(lambda: status(node, address, "--insecure") == 200)


def test_an_image_is_pulled_through_the_mirror(node: Node, address: str) -> None:
    """By its unchanged name."""
    assert address
    node.cluster.run_kubectl("wait", "--for=condition=Ready", "rm/m", "--timeout=60s")
    node.apply([a_pod("pulled", "world.local.test/lib/test:1")])
    runs(node, "pulled")


def test_a_dead_node_has_an_agent_that_never_starts(node: Node, system: Installed, address: str) -> None:
    """It is on paper only; the DaemonSet counts it."""
    assert address
    name = onpaper.add_dead_node(node)
    path = "jsonpath={.status.desiredNumberScheduled} {.status.numberReady}"
    assert eventually(lambda: system.kubectl("get", "daemonset", "registry-mirror-m", "-o", path) == "2 1")
    onpaper.remove_node(node, name)
    assert eventually(lambda: system.kubectl("get", "daemonset", "registry-mirror-m", "-o", path) == "1 1", 90)


def test_programs_scale_independently(system: Installed) -> None:
    """Three webhooks and one controller."""
    system.scale("webhook", 3)
    system.scale("controller", 1)
