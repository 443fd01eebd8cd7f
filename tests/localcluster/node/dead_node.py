"""Register nodes without a kubelet."""

import json

from common.types import Json
from tests.localcluster.cluster import Cluster
from tests.localcluster.node.inside import Inside

# Enough for the agents of all mirrors. Other pods do not tolerate the taint of a node that is not ready.
ROOM = {"cpu": "4", "memory": "8Gi", "pods": "110", "ephemeral-storage": "50Gi"}


def add_dead_node(node: Inside, name: str = "dead") -> str:
    """Register a node that is NotReady and has no kubelet; return its name.

    A DaemonSet that tolerates it gets a pod there. The pod stays Pending, and Terminating after its deletion.
    """
    cluster = node.cluster
    labels = {"kubernetes.io/os": "linux", "kubernetes.io/hostname": name}
    node.apply([{"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}}])
    status = {
        "capacity": ROOM,
        "allocatable": ROOM,
        "conditions": [{"type": "Ready", "status": "False", "reason": "KubeletNotReady", "message": "no kubelet"}],
    }
    _patch(cluster, name, {"status": status})
    return name


def remove_node(node: Inside, name: str = "dead") -> None:
    """Delete the node and its pods; the garbage collector would need a minute for them."""
    bound = ("pods", "--all-namespaces", f"--field-selector=spec.nodeName={name}")
    node.cluster.run_kubectl("delete", "node", name)
    node.cluster.run_kubectl("delete", *bound, "--force", "--grace-period=0")


def _patch(cluster: Cluster, name: str, change: Json) -> None:
    cluster.run_kubectl("patch", "node", name, "--subresource=status", "--type=merge", f"--patch={json.dumps(change)}")
