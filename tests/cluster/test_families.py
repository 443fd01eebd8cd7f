"""Services of mirrors in a dual-stack cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from common import names
from controller.objects import resources
from tests.localcluster.families import CHOICES
from tests.support.faults import one
from tests.support.kube import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cluster.conftest import Running
    from tests.support.kube import Kube

SINGLE_STACK = {"spec": {"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4"]}}


def families(kube: Kube, name: str) -> list[str]:
    """Return the IP families of a Service."""
    found: list[str] = kube.get(resources.SERVICE, name)["spec"]["ipFamilies"]
    return found


@pytest.mark.slow
def test_service_of_one_family_gets_the_second(fresh: Callable[..., Running]) -> None:
    """It keeps its address, and the status has both. A Service that prefers the other family keeps the order."""
    running = fresh(*CHOICES["ipv6,ipv4"].api_server_arguments)
    kube, name = running.kube, names.object_name("old")
    running.system.start()
    kube.mirror(one("old"))
    until(lambda: len(kube.get(resources.MIRROR, "old").get("status", {}).get("clusterIPs", ())) == 2, why="both")
    assert families(kube, name) == families(kube, names.headless_name("old")) == ["IPv6", "IPv4"]
    running.system.processes.stop(["controller"])
    kube.delete(resources.SERVICE, name)
    owned = {key: kube.get(resources.SECRET, name)["metadata"][key] for key in ("labels", "ownerReferences")}
    ports = {"ports": [{"name": "https", "port": 443, "targetPort": 5000}], "selector": {"mirror": "old"}}
    spec = {**SINGLE_STACK["spec"], **ports}
    before = kube.create(resources.SERVICE, {"metadata": {"name": name, **owned}, "spec": spec})
    running.system.start_controller()
    until(lambda: families(kube, name) == ["IPv4", "IPv6"], why="the second family is added")
    after = kube.get(resources.SERVICE, name)["spec"]["clusterIPs"]
    assert after[0] == before["spec"]["clusterIP"]
    until(lambda: kube.get(resources.MIRROR, "old")["status"]["clusterIPs"] == after, why="the status follows")
