"""The node itself: pods, Services, names, files and volumes, as `tests.localcluster.node` promises them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.localcluster.node import runtime
from tests.localcluster.node.runtime import CONFIGURATION
from tests.support.pods import a_pod, a_service, eventually, runs

if TYPE_CHECKING:
    from tests.localcluster.node.node import Node

KINDS = {runtime.DEBIAN: "containerd://1.6.", runtime.MODULES: "containerd://2."}


@pytest.fixture(scope="module")
def web(node: Node) -> str:
    """Run a web server in a pod behind the Service `web`; return its cluster IP."""
    serve = "echo hello > /tmp/index.html; exec httpd -f -p 8080 -h /tmp"
    pod = a_pod("web", container={"command": ["sh", "-c", serve]})
    node.apply([pod, a_service("web"), a_pod("client")])
    runs(node, "web")
    runs(node, "client")
    address = node.cluster.run_kubectl("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}").stdout
    assert eventually(lambda: node.answers(address, 80))
    return address


def test_node_runs_requested_runtime(node: Node) -> None:
    """Kubelet reports the version; the agent reads the configuration."""
    version = "jsonpath={.status.nodeInfo.containerRuntimeVersion}"
    found = node.cluster.run_kubectl("get", "node", node.name, "-o", version).stdout
    assert found.startswith(KINDS[node.flavour])
    assert found.removeprefix("containerd://") in node.run(str(node.runtime.containerd), "--version").stdout
    assert b"config_path" in node.read(CONFIGURATION)


def test_pods_reach_services_by_name(node: Node, web: str) -> None:
    """From a pod: CoreDNS, kube-proxy and CNI together."""
    output = node.cluster.run_kubectl(
        "exec", "client", "--", "wget", "-q", "-O-", "http://web.default.svc.cluster.local"
    )
    assert output.stdout == "hello\n"
    assert node.run("busybox", "wget", "-q", "-O-", f"http://{web}").stdout == "hello\n"


def test_api_server_reaches_pods_by_service(node: Node, web: str) -> None:
    """As it has to for a webhook that runs in a pod."""
    assert web
    proxied = node.cluster.run_kubectl("get", "--raw", "/api/v1/namespaces/default/services/web:80/proxy/")
    assert proxied.stdout == "hello\n"


def test_pods_reach_api_server_by_service(node: Node, web: str) -> None:
    """Its certificate holds that name, and a pod's CA file is the cluster's."""
    assert web
    assert node.answers("10.96.0.1", 443)
    output = node.cluster.run_kubectl("exec", "client", "--", "nslookup", "kubernetes.default.svc.cluster.local").stdout
    assert "10.96.0.1" in output


def test_packets_vanish_and_come_back(node: Node, web: str) -> None:
    """A blackholed Service takes no connection, and does again."""
    node.drop_packets(web)
    assert not node.answers(web, 80)
    node.let_packets(web)
    assert node.answers(web, 80)


def test_node_has_its_own_files(node: Node) -> None:
    """The node has its own /etc and host name."""
    before = Path("/etc/hosts").read_bytes()
    node.write("/etc/containerd/certs.d/example.com/hosts.toml", "# ours\n")
    node.append("/etc/hosts", "192.0.2.1 only.local.test\n")
    assert node.read("/etc/containerd/certs.d/example.com/hosts.toml") == b"# ours\n"
    assert b"192.0.2.1 only.local.test\n" in node.read("/etc/hosts")
    assert not Path("/etc/containerd/certs.d/example.com").exists()
    assert Path("/etc/hosts").read_bytes() == before
    assert node.run("hostname").stdout.strip() == node.name
    node.run("rm", "-r", "/etc/containerd/certs.d/example.com")


def test_a_name_can_be_given_to_another_address(node: Node, web: str) -> None:
    """Node and pods follow; names beside it stay."""
    assert web
    node.add_name("moving.local.test", "192.0.2.7")
    node.add_name("staying.local.test", "192.0.2.9")
    assert "192.0.2.7" in dns_answer(node, "moving.local.test")
    node.add_name("moving.local.test", "192.0.2.8")
    assert node.run("getent", "hosts", "moving.local.test").stdout.split()[0] == "192.0.2.8"
    assert "192.0.2.8" in dns_answer(node, "moving.local.test")
    assert "192.0.2.9" in dns_answer(node, "staying.local.test")


def dns_answer(node: Node, name: str) -> str:
    """Return the DNS answer that a pod gets for a name."""
    return node.cluster.run_kubectl("exec", "client", "--", "nslookup", name, check=False).stdout


@pytest.mark.parametrize("megabytes", [None, 20], ids=["folder", "file system"])
def test_claim_gets_writable_volume(node: Node, megabytes: int | None) -> None:
    """A container writes to it without root. A small volume becomes full."""
    name = f"volume-{megabytes or 'any'}"
    node.add_volumes(1, megabytes=megabytes)
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": name}}
    mount = {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    node.apply([claim, a_pod(name, container=mount, volumes=[volume], securityContext={"runAsUser": 65532})])
    runs(node, name)
    fill = ("exec", name, "--", "dd", "if=/dev/zero", "of=/data/zeros", "bs=1M", "count=30")
    done = node.cluster.run_kubectl(*fill, check=False)
    assert ("No space left" in done.stderr) is (megabytes is not None), done.stderr


def test_containerd_can_be_away(node: Node, web: str) -> None:
    """Pods that run go on without it; started again, it starts new ones."""
    node.stop_component("containerd")
    assert node.ctr("version", check=False).returncode != 0
    assert node.answers(web, 80)
    node.start_component("containerd")
    node.apply([a_pod("after")])
    runs(node, "after")
