"""Write the status that kubelet, volume provisioner and resizer would write. They do not run beside an API server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.objects.resources import CLAIM, Kind
from tests.support.kube import Kube, until

if TYPE_CHECKING:
    from collections.abc import Iterable

    from common.types import Json

POD = Kind("v1", "pods", "Pod")
NODE = Kind("v1", "nodes", "Node", namespaced=False)
VOLUME = Kind("v1", "persistentvolumes", "PersistentVolume", namespaced=False)
STORAGE_CLASS = Kind("storage.k8s.io/v1", "storageclasses", "StorageClass", namespaced=False)


def pods_of(kube: Kube, mirror: str, component: str) -> list[Json]:
    """Return the pods of one kind of a mirror that are not being deleted."""
    found = kube.every(POD, labelSelector=f"mirror={mirror},component={component}")
    return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]


def set_pod_ready(kube: Kube, pod: Json, *, ready: bool, address: str | None = None) -> None:
    """Report a pod as running, and ready or not, as its kubelet."""
    stamp = pod["metadata"]["creationTimestamp"]
    condition = {"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": stamp}
    places = {"podIP": address, "podIPs": [{"ip": address}], "startTime": stamp} if address else {}
    status = {"phase": "Running", "conditions": [condition], **places}
    kube.patch(POD, pod["metadata"]["name"], {"status": status}, subresource="status")


def make_pods_ready(kube: Kube, mirror: str, component: str, number: int) -> None:
    """Report a number of pods of a mirror as ready."""
    pods = until(lambda: _at_least(pods_of(kube, mirror, component), number), why=f"{number} pods of {mirror} exist")
    for pod in pods[:number]:
        set_pod_ready(kube, pod, ready=True)


def finish_termination(kube: Kube, mirror: str, component: str) -> None:
    """Remove the pods of one kind that are being deleted, as their kubelet."""
    for pod in kube.every(POD, labelSelector=f"mirror={mirror},component={component}"):
        if "deletionTimestamp" in pod["metadata"]:
            kube.delete(POD, pod["metadata"]["name"], gracePeriodSeconds=0)


def _at_least(pods: list[Json], number: int) -> list[Json]:
    return pods if len(pods) >= number else []


def create_node(kube: Kube, name: str, *taints: Json, **labels: str) -> None:
    """Create a node without a kubelet and without room. The DaemonSet controller creates pods for it too."""
    usual = {"kubernetes.io/os": "linux", "kubernetes.io/hostname": name}
    kube.create(NODE, {"metadata": {"name": name, "labels": {**usual, **labels}}, "spec": {"taints": list(taints)}})


def create_node_with_capacity(kube: Kube, name: str, **labels: str) -> None:
    """Create a node without a kubelet to which the scheduler assigns pods."""
    create_node(kube, name, **labels)
    set_capacity(kube, name, pods=100)


def set_capacity(kube: Kube, node: str, *, pods: int) -> None:
    """Report the room of a node for a number of pods, as its kubelet."""
    capacity = {"cpu": "8", "memory": "16Gi", "pods": str(pods)}
    kube.patch(NODE, node, {"status": {"capacity": capacity, "allocatable": capacity}}, subresource="status")


def create_storage_class(kube: Kube, name: str, *, growing: bool) -> None:
    """Create a StorageClass whose volumes the test creates."""
    body = {"metadata": {"name": name}, "provisioner": "example.com/by-hand", "allowVolumeExpansion": growing}
    kube.create(STORAGE_CLASS, body)


def create_volumes(kube: Kube, storage_class: str, names: Iterable[str], size: str) -> None:
    """Create volumes to which Kubernetes binds claims of their class."""
    for name in names:
        spec = {
            "capacity": {"storage": size},
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": storage_class,
            "hostPath": {"path": f"/nowhere/{name}"},
        }
        kube.create(VOLUME, {"metadata": {"name": name}, "spec": spec})


def grant_storage(kube: Kube, claim: str, size: str) -> None:
    """Report the size of a claim's volume, as the resizer."""
    kube.patch(CLAIM, claim, {"status": {"capacity": {"storage": size}}}, subresource="status")
