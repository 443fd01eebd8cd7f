"""The hands of what does not run beside an API server alone: kubelet, volume provisioner, resizer.

They write status as those programs would; everything that reacts to it is real.
"""

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
    """The pods of one kind of a mirror, without those on their way out."""
    found = kube.every(POD, labelSelector=f"mirror={mirror},component={component}")
    return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]


def kubelet_says(kube: Kube, pod: Json, *, ready: bool) -> None:
    """A kubelet reports a pod as running, and ready or not."""
    stamp = pod["metadata"]["creationTimestamp"]
    conditions = [{"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": stamp}]
    kube.patch(
        POD, pod["metadata"]["name"], {"status": {"phase": "Running", "conditions": conditions}}, subresource="status"
    )


def pods_become_ready(kube: Kube, mirror: str, component: str, number: int) -> None:
    """So many pods of a mirror run and are ready."""
    pods = until(lambda: _so_many(pods_of(kube, mirror, component), number), why=f"{number} pods of {mirror} exist")
    for pod in pods[:number]:
        kubelet_says(kube, pod, ready=True)


def terminated(kube: Kube, mirror: str, component: str) -> None:
    """The kubelet has ended the pods of one kind that are to go."""
    for pod in kube.every(POD, labelSelector=f"mirror={mirror},component={component}"):
        if "deletionTimestamp" in pod["metadata"]:
            kube.delete(POD, pod["metadata"]["name"], gracePeriodSeconds=0)


def _so_many(pods: list[Json], number: int) -> list[Json]:
    return pods if len(pods) >= number else []


def a_node(kube: Kube, name: str) -> None:
    """A node that exists on paper: the DaemonSet controller makes a pod for it, which nobody runs."""
    kube.create(NODE, {"metadata": {"name": name, "labels": {"kubernetes.io/os": "linux"}}})


def a_node_with_room(kube: Kube, name: str) -> None:
    """A node on paper that the scheduler gives pods to."""
    a_node(kube, name)
    room = {"cpu": "8", "memory": "16Gi", "pods": "100"}
    kube.patch(NODE, name, {"status": {"capacity": room, "allocatable": room}}, subresource="status")


def a_storage_class(kube: Kube, name: str, *, growing: bool) -> None:
    """A class whose volumes are made by hand, and may grow or not."""
    body = {"metadata": {"name": name}, "provisioner": "example.com/by-hand", "allowVolumeExpansion": growing}
    kube.create(STORAGE_CLASS, body)


def volumes(kube: Kube, storage_class: str, names: Iterable[str], size: str) -> None:
    """Volumes made by hand, to which Kubernetes binds claims of their class."""
    for name in names:
        spec = {
            "capacity": {"storage": size},
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": storage_class,
            "hostPath": {"path": f"/nowhere/{name}"},
        }
        kube.create(VOLUME, {"metadata": {"name": name}, "spec": spec})


def resizer_grants(kube: Kube, claim: str, size: str) -> None:
    """A resizer has made the volume of a claim that large."""
    kube.patch(CLAIM, claim, {"status": {"capacity": {"storage": size}}}, subresource="status")
