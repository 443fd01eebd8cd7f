"""Replace a Service by a server that hangs or has a wrong certificate.

    with fake_server(node, cluster_ip, number=200, fault="hang"): ...   # accepts TCP, no TLS
    with fake_server(node, cluster_ip, number=200, fault=200): ...      # a wrong certificate, answers 200

iptables redirects packets to the Service's address before kube-proxy's rules. Pods and endpoints stay ready, as with a
fault of the network that probes do not see. Open connections are not redirected. `frozen` stops the pods themselves.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.localcluster.layout import Layout
from tests.localcluster.node import front
from tests.localcluster.node.faults import HANG, Faults
from tests.localcluster.node.inside import Inside
from tests.localcluster.node.node import Node
from tests.localcluster.pki import CertificateAuthority

REPOSITORY = Path(__file__).parents[3]
NAME = "fake-server.local.test"  # what its certificate is for
HTTPS = 443


@contextmanager
def fake_server(node: Inside, address: str, number: int = 200, fault: str | int = HANG) -> Iterator[front.Settings]:
    """Redirect port 443 of `address` to a server during the block.

    `number` is the host number of the server's address in the node's network. `fault` is `hang` or an HTTP status.
    """
    settings = _prepare(node, number)
    Faults(fault).write(Path(settings.faults))
    name = f"fake-server-{number}"
    command = [sys.executable, "-m", front.__name__, json.dumps(vars(settings))]
    node.sandbox.launch(name, command, {"PYTHONPATH": str(REPOSITORY)})
    node.wait_for("the fake server answers", lambda: node.answers(settings.address, HTTPS))
    _divert(node, "--insert", address, settings.address)
    try:
        yield settings
    finally:
        _divert(node, "--delete", address, settings.address)
        node.sandbox.end(name)
        node.run("ip", "address", "delete", f"{settings.address}/32", "dev", "eth0")


@contextmanager
def frozen(node: Node, *pods: str, namespace: str = "registry-mirror") -> Iterator[None]:
    """Stop all processes of these pods during the block. The kernel still accepts connections.

    Probes fail: kubelet removes the pods from their Services and kills containers with a liveness probe.
    """
    found = [pid for pod in pods for pid in processes(node, pod, namespace)]
    node.run("kill", "-STOP", *found)
    try:
        yield
    finally:
        node.run("kill", "-CONT", *found, check=False)  # kubelet may have killed them


def processes(node: Node, pod: str, namespace: str) -> list[str]:
    """Return the process ids in the node of a pod's containers without pause; empty if the pod is gone."""
    path = "jsonpath={.status.containerStatuses[*].containerID}"
    ask = ("get", "pod", pod, f"--namespace={namespace}", "--ignore-not-found", "-o", path)
    output = node.cluster.run_kubectl(*ask).stdout
    containers = {each.rpartition("/")[2] for each in output.split()}
    tasks = [line.split() for line in node.ctr("tasks", "list", "--quiet=false", check=True).stdout.splitlines()]
    return [task[1] for task in tasks if task[0] in containers]


def _prepare(node: Inside, number: int) -> front.Settings:
    folder = node.folder / f"fake-server-{number}"
    folder.mkdir(exist_ok=True)
    identity = CertificateAuthority(Layout(node.cluster.folder).ca).server("serving", [NAME], folder)
    address = node.sandbox.link.address(number)
    node.run("ip", "address", "add", f"{address}/32", "dev", "eth0")
    files = {name: str(folder / name) for name in ("faults", "records")}
    certificate, key = str(identity.certificate), str(identity.key)
    return front.Settings(address, HTTPS, 0, 0, certificate, key, **files)


def _divert(node: Inside, what: str, address: str, target: str) -> None:
    for chain in ("OUTPUT", "PREROUTING"):
        rule = ("--destination", address, "--protocol", "tcp", "--dport", "443", "--jump", "DNAT")
        node.run("iptables", "--wait", "--table", "nat", what, chain, *rule, "--to-destination", f"{target}:{HTTPS}")
