"""Upgrade a mirror whose cache pods have no label of their upstream."""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.names import UPSTREAM_LABEL
from controller.objects import resources
from tests.support.components import make_pods_ready, pods_of, set_pod_ready
from tests.support.faults import complete, one
from tests.support.kube import Kube, until

if TYPE_CHECKING:
    from tests.cluster.conftest import Running

CHILD = "registry-mirror-old"


def marked(kube: Kube) -> list[str]:
    """Return the cache pods with the label."""
    found = pods_of(kube, "old", "registry")
    return sorted(pod["metadata"]["name"] for pod in found if UPSTREAM_LABEL in pod["metadata"]["labels"])


def selected(kube: Kube) -> bool:
    """Return True if the Service selects the label."""
    return UPSTREAM_LABEL in kube.get(resources.SERVICE, CHILD)["spec"]["selector"]


def test_service_selects_old_pods_until_new_ready(own: Running) -> None:
    kube = own.kube
    kube.mirror(one("old"))
    until(lambda: complete(kube, "old"), why="complete")
    make_pods_ready(kube, "old", "registry", 2)
    kube.until_condition("old", "CacheAvailable", "True", "AllReplicasReady")

    own.system.processes.stop(["controller"])
    unmarked = {"labels": {UPSTREAM_LABEL: None}}
    kube.patch(resources.SERVICE, CHILD, {"spec": {"selector": {UPSTREAM_LABEL: None}}})
    kube.patch(resources.STATEFUL_SET, CHILD, {"spec": {"template": {"metadata": unmarked}}})
    for number in (1, 0):
        until(lambda number=number: f"{CHILD}-{number}" not in marked(kube), why="rolled back")  # type: ignore[misc]
        make_pods_ready(kube, "old", "registry", 2)
    until(lambda: kube.get(resources.STATEFUL_SET, CHILD)["status"].get("readyReplicas") == 2, why="old ones serve")

    own.system.start_controller()
    until(lambda: marked(kube) == [f"{CHILD}-1"], why="the first is replaced")
    kube.until_condition("old", "CacheAvailable", "True", "RollingOut")
    assert not selected(kube)
    set_pod_ready(
        kube,
        next(pod for pod in pods_of(kube, "old", "registry") if pod["metadata"]["name"] in marked(kube)),
        ready=True,
    )
    until(lambda: selected(kube), why="the Service leads to the new ones")
