"""Take over a mirror of mirror-operator on a node: pulls go on, and nothing of it is left."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from controller.objects.resources import CLAIM, DAEMON_SET, MIRROR
from hostess.hostsfile import hosts_block
from tests.localcluster.node import images
from tests.localcluster.node.installed import NAMESPACE
from tests.support.pulling import pulling, pushed

if TYPE_CHECKING:
    from common.types import Json
    from tests.support.testbed import Testbed

pytestmark = pytest.mark.usefixtures("no_mirror")

NAME = "former"
CHILD = f"registry-mirror-{NAME}"
LABELS = {"app": "docker-registry", "mirror": NAME}
HOSTS = "/etc/hosts"


def objects_of_mirror_operator(mirror: Json) -> list[Json]:
    """Return the objects that mirror-operator made for a mirror, with pods that sleep."""
    owner = {key: mirror[key] for key in ("apiVersion", "kind")}
    owner |= {key: mirror["metadata"][key] for key in ("name", "uid")}
    registry, agent = {**LABELS, "component": "registry"}, {**LABELS, "component": "hostess-certificate"}
    claim = {
        "metadata": {"name": "image-store"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    ports = [{"name": "https", "port": 443, "targetPort": 5000}]
    stateful_set = {"serviceName": f"{CHILD}-headless", "volumeClaimTemplates": [claim]}
    specs: list[tuple[str, str, str, Json]] = [
        ("v1", "Secret", f"{CHILD}-secret", {"stringData": {"username": "robot"}}),
        ("v1", "Service", CHILD, {"spec": {"selector": registry, "ports": ports}}),
        ("v1", "Service", f"{CHILD}-headless", {"spec": {"selector": registry, "clusterIP": "None", "ports": ports}}),
        ("apps/v1", "StatefulSet", CHILD, {"spec": {**stateful_set, **_pods(registry)}}),
        ("apps/v1", "DaemonSet", f"{CHILD}-utils", {"spec": _pods(agent)}),
    ]
    metadata = {"namespace": NAMESPACE, "labels": LABELS, "ownerReferences": [owner]}
    return [
        {"apiVersion": version, "kind": kind, "metadata": {"name": name, **metadata}, **body}
        for version, kind, name, body in specs
    ]


def _pods(labels: Json) -> Json:
    container = {"name": "c", "image": images.BUSYBOX_IMAGE, "command": ["sleep", "100000"]}
    spec = {"terminationGracePeriodSeconds": 0, "containers": [container]}
    return {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": spec}}


def foreign(content: bytes) -> bytes:
    """Return the foreign part of a hosts file."""
    return hosts_block.parse(content).foreign


def test_mirror_of_mirror_operator_is_taken_over(testbed: Testbed) -> None:
    node, masquerade = testbed.node, f"mirror-{testbed.world.host}"
    before = node.read(HOSTS)
    with pulling(testbed, pushed(testbed, "during")) as pulls:
        with testbed.without_controller():
            (volume,) = testbed.apply_mirror(NAME, testbed.world.host)
            node.apply(objects_of_mirror_operator(testbed.kube.get(MIRROR, NAME)))
            claim = f"image-store-{CHILD}-0"
            testbed.until(lambda: (testbed.kube.find(CLAIM, claim) or {}).get("status", {}).get("phase") == "Bound")
            address = testbed.address(NAME)
            node.write(HOSTS, f"{address}\t{masquerade}\n".encode() + before)  # of an agent that was killed
            node.run("sh", "-c", f"mkdir -p {volume}/a/b3 && echo cached > {volume}/a/b3/0123 && chmod -R 777 {volume}")
        testbed.wait_ready(NAME)
        pulls.more(2)
    assert not pulls.failed
    assert testbed.address(NAME) == address
    assert foreign(node.read(HOSTS)) == before
    assert not node.exists(f"{volume}/a")
    testbed.until(lambda: testbed.kube.find(DAEMON_SET, f"{CHILD}-utils") is None)
    before_pull = testbed.counted(NAME)
    testbed.pull(testbed.world.push("lib/former:1", (2.0,)))
    assert testbed.counted(NAME) > before_pull + 2_000_000
    assert {"Adopted", "Pruned"} <= testbed.events(NAME)
    testbed.delete(NAME)
    assert foreign(node.read(HOSTS)) == before


def test_contradicting_hosts_line_is_named(testbed: Testbed) -> None:
    """The advice of the condition is followed: the line is removed."""
    testbed.mirror(NAME, testbed.world)
    node, before = testbed.node, testbed.node.read(HOSTS)
    line = f"192.0.2.1 mirror-{testbed.world.host}"
    node.write(HOSTS, f"{line}\n".encode() + before)
    condition = testbed.becomes(NAME, "NodesConfigured", "ExistingHostsEntry")
    assert line in condition["message"]
    assert not testbed.hosts_toml(testbed.world.host)
    assert testbed.pull(testbed.world.push("lib/contradicted:1")) < 25, "from the upstream, without a wait"
    node.write(HOSTS, node.read(HOSTS).replace(f"{line}\n".encode(), b""))
    testbed.wait_ready(NAME)
    testbed.delete(NAME)
