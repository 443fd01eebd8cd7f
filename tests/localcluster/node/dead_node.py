"""Nodes that exist on paper only: registered, with room for pods, and dead."""

import json

from common.types import Json
from tests.localcluster.cluster import Cluster
from tests.localcluster.node.inside import Inside

# More than enough for the agents of all mirrors; nothing else goes there, by the taint of a node that is not ready.
ROOM = {"cpu": "4", "memory": "8Gi", "pods": "110", "ephemeral-storage": "50Gi"}


def add_dead_node(node: Inside, name: str = "dead") -> str:
    """Register a node whose kubelet has never been heard of, NotReady; return its name.

    A DaemonSet that tolerates such nodes gets a pod bound to it, which stays Pending, and Terminating once deleted.
    """
    cluster = node.cluster
    labels = {"kubernetes.io/os": "linux", "kubernetes.io/hostname": name}
    node.apply([{"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}}])
    status = {
        "capacity": ROOM,
        "allocatable": ROOM,
        "conditions": [{"type": "Ready", "status": "False", "reason": "KubeletNotReady", "message": "on paper only"}],
    }
    _patch(cluster, name, {"status": status})
    return name


def remove_node(node: Inside, name: str = "dead") -> None:
    """Remove a node on paper, and the pods bound to it, which the garbage collector would need a minute for."""
    bound = ("pods", "--all-namespaces", f"--field-selector=spec.nodeName={name}")
    node.cluster.run_kubectl("delete", "node", name)
    node.cluster.run_kubectl("delete", *bound, "--force", "--grace-period=0")


def _patch(cluster: Cluster, name: str, change: Json) -> None:
    cluster.run_kubectl("patch", "node", name, "--subresource=status", "--type=merge", f"--patch={json.dumps(change)}")
