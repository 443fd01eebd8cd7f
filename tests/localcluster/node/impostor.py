"""What stands in the place of a Service for a while: a server that takes connections and hangs, or is somebody else.

    with impostor(node, cluster_ip, number=200, fault="hang"): ...   # TCP is answered, TLS never
    with impostor(node, cluster_ip, number=200, fault=200): ...      # a wrong certificate, and 200 for who accepts it

Packets to the Service's address are led there before kube-proxy's rules see them, so that nothing in the cluster
changes: the cache's pods stay ready and its endpoints stay, as it is where a network device or a wedged process is at
fault that probes do not notice. Connections that were open before go on with whom they had. Where the process itself
shall hang, probes included, `freeze` its pods.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.localcluster.layout import Layout
from tests.localcluster.node import front
from tests.localcluster.node.inside import Inside
from tests.localcluster.node.node import Node
from tests.localcluster.node.orders import HANG, Orders
from tests.localcluster.pki import CertificateAuthority

REPOSITORY = Path(__file__).parents[3]
NAME = "impostor.local.test"  # what its certificate is for
HTTPS = 443


@contextmanager
def impostor(node: Inside, address: str, number: int = 200, fault: str | int = HANG) -> Iterator[front.Settings]:
    """Put a server in the place of `address`, port 443, for as long as the block lasts.

    `number` is that of its own address in the node's network; `fault` is as for an upstream: `hang`, or a status.
    """
    settings = _prepare(node, number)
    Orders(fault).write(Path(settings.orders))
    name = f"impostor-{number}"
    command = [sys.executable, "-m", front.__name__, json.dumps(vars(settings))]
    node.sandbox.launch(name, command, {"PYTHONPATH": str(REPOSITORY)})
    node.wait_for("the impostor answers", lambda: node.answers(settings.address, HTTPS))
    _divert(node, "--insert", address, settings.address)
    try:
        yield settings
    finally:
        _divert(node, "--delete", address, settings.address)
        node.sandbox.end(name)
        node.run("ip", "address", "delete", f"{settings.address}/32", "dev", "eth0")


@contextmanager
def frozen(node: Node, *pods: str, namespace: str = "registry-mirror") -> Iterator[None]:
    """Stop all processes of these pods for as long as the block lasts: the kernel takes connections, nobody answers.

    Probes fail too, so that kubelet takes the pods out of their Services, and kills what has a liveness probe.
    """
    found = [pid for pod in pods for pid in processes(node, pod, namespace)]
    node.run("kill", "-STOP", *found)
    try:
        yield
    finally:
        node.run("kill", "-CONT", *found, check=False)  # kubelet may have ended them


def processes(node: Node, pod: str, namespace: str) -> list[str]:
    """Return the process ids, as the node counts, of a pod's containers, less pause; none of a pod that is gone."""
    path = "jsonpath={.status.containerStatuses[*].containerID}"
    ask = ("get", "pod", pod, f"--namespace={namespace}", "--ignore-not-found", "-o", path)
    said = node.cluster.run_kubectl(*ask).stdout
    containers = {each.rpartition("/")[2] for each in said.split()}
    tasks = [line.split() for line in node.ctr("tasks", "list", "--quiet=false", check=True).stdout.splitlines()]
    return [task[1] for task in tasks if task[0] in containers]


def _prepare(node: Inside, number: int) -> front.Settings:
    folder = node.folder / f"impostor-{number}"
    folder.mkdir(exist_ok=True)
    address = node.sandbox.link.address(number)
    node.run("ip", "address", "add", f"{address}/32", "dev", "eth0")
    identity = CertificateAuthority(Layout(node.cluster.folder).ca).server("serving", [NAME], folder)
    files = {name: str(folder / name) for name in ("orders", "records")}
    certificate, key = str(identity.certificate), str(identity.key)
    return front.Settings(address, HTTPS, 0, 0, certificate, key, **files)


def _divert(node: Inside, what: str, address: str, target: str) -> None:
    for chain in ("OUTPUT", "PREROUTING"):
        rule = ("--destination", address, "--protocol", "tcp", "--dport", "443", "--jump", "DNAT")
        node.run("iptables", "--wait", "--table", "nat", what, chain, *rule, "--to-destination", f"{target}:{HTTPS}")
