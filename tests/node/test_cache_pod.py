"""Run a cache pod under a real kubelet: without upstream, confined, scanned, with a full volume, with changed files."""

from __future__ import annotations

import base64
import json
import ssl
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from common import names
from common.cache_protocol import PORT, STATUS_PORT
from controller.certificates.x509 import issue_ca, issue_certificate
from controller.desired import desired_objects
from controller.desired.cache_config import CONFIGURATION_DIRECTORY
from controller.model.inputs import ServingCertificate
from controller.objects import merge_patch, well_known
from controller.objects.resources import SECRET, SERVICE, STATEFUL_SET
from tests.localcluster.node import debian, dockerfiles
from tests.localcluster.node.fake_server import processes
from tests.localcluster.node.runtime import MODULES
from tests.support.controller import inputs, parsed, settings
from tests.support.mirrors import a_mirror
from tests.support.scanner import PACKAGE, Scan, assert_modern, command
from tests.support.serving import served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from common.types import Json
    from tests.localcluster.node.node import Node
    from tests.support.mirrors import MirrorBuilder

# Probes and volumes belong to the kubelet, with any runtime; tests/e2e fills volumes with each runtime.
pytestmark = pytest.mark.parametrize("node", [MODULES], indirect=True, scope="module")

POD, NAMESPACE = "registry-mirror-docker-0", "default"
MEGABYTES = 100
USER = "65532"


def objects(builder: MirrorBuilder) -> Iterator[Json]:
    """Yield Secret, Services and StatefulSet of a mirror without owner, with a new certificate."""
    mirror, now = parsed(builder), datetime.now(UTC)
    ca = issue_ca("mirrors", now)
    hosts = (mirror.masquerade, *names.service_hosts(mirror.name, NAMESPACE))
    known = inputs(tls=ServingCertificate(ca.certificate, issue_certificate(ca, hosts, now)))
    made = desired_objects(mirror, settings(CACHE_IMAGE=dockerfiles.image_name("cache")), known)
    for kind, body in made:
        if kind in (SECRET, SERVICE, STATEFUL_SET):
            obj = merge_patch.without_nulls(body)
            # There is no mirror to own them: Kubernetes would collect them.
            for each in (obj, *obj.get("spec", {}).get("volumeClaimTemplates", ())):
                del each["metadata"]["ownerReferences"]
            yield obj


def a_small_mirror() -> MirrorBuilder:
    """Return a mirror with one cache pod, whose upstream does not exist."""
    return a_mirror().of("upstream.example.com").replicated(1).on_class("by-hand").storing("100Mi")


@pytest.fixture(scope="module")
def volume(node: Node) -> Path:
    """Start the cache pod and return its volume."""
    node.import_image(dockerfiles.build("cache"))
    (folder,) = node.add_volumes(1, "100Mi", megabytes=MEGABYTES)
    node.apply(list(objects(a_small_mirror())))
    node.wait_for("the cache pod to be Ready", lambda: is_ready(node))
    return folder


def of_pod(node: Node, path: str) -> str:
    """Return a field of the cache pod."""
    return node.cluster.run_kubectl("get", "pod", POD, "-o", f"jsonpath={path}").stdout


def is_ready(node: Node) -> bool:
    """Return True if the kubelet reports Ready."""
    path = "jsonpath={.status.conditions[?(@.type=='Ready')].status}"
    return node.cluster.run_kubectl("get", "pod", POD, "-o", path, check=False).stdout == "True"


def restarts(node: Node) -> int:
    """Return the number of restarts of the cache pod's container."""
    return int(of_pod(node, "{.status.containerStatuses[0].restartCount}"))


def ask(node: Node, page: str) -> str:
    """Return a page of the cache's status port. Raises LocalClusterError unless the status is 200."""
    return node.run(
        "curl", "--silent", "--fail", f"http://{of_pod(node, '{.status.podIP}')}:{STATUS_PORT}/{page}"
    ).stdout


@pytest.mark.usefixtures("volume")
def test_cache_is_ready_without_upstream(node: Node) -> None:
    """The status names the fault of the upstream. TLS is modern."""
    node.wait_for("the upstream was asked", lambda: upstream_reason(node) == "NameNotFound")
    assert is_ready(node)
    debian.install(PACKAGE)
    assert_modern(Scan(node.run(*command(PORT, of_pod(node, "{.status.podIP}"))).stdout))


def upstream_reason(node: Node) -> str:
    """Return the state of the upstream that the cache reports."""
    (upstream,) = json.loads(ask(node, "status"))["upstreams"]
    return str(upstream["reason"])


@pytest.mark.usefixtures("volume")
def test_cache_process_is_confined(node: Node) -> None:
    """The cache is the container's first process, without root, capabilities and writable root file system."""
    (pid,) = processes(node, POD, NAMESPACE)
    arguments = node.read(f"/proc/{pid}/cmdline").decode().split("\0")
    assert arguments[-2] == f"{CONFIGURATION_DIRECTORY}/{well_known.CONFIGURATION}"
    status = dict(line.split(":\t", 1) for line in node.read(f"/proc/{pid}/status").decode().splitlines())
    assert status["NSpid"].split()[-1] == "1"
    assert set(status["Uid"].split()) == {USER}
    assert (int(status["CapBnd"], 16), status["NoNewPrivs"], status["Seccomp"]) == (0, "1", "2")
    mounts = [line.split() for line in node.read(f"/proc/{pid}/mountinfo").decode().splitlines()]
    assert [mount[5].split(",")[0] for mount in mounts if mount[4] == "/"] == ["ro"]


def test_full_volume_keeps_cache_ready(node: Node, volume: Path) -> None:
    """A cache whose volume other files have filled is ready, also after a restart."""
    node.run("dd", "if=/dev/zero", f"of={volume}/filler", "bs=1M", f"count={MEGABYTES}", check=False)
    space = json.loads(ask(node, "status"))["space"]
    assert space["free"] < 1_000_000 < space["minFree"]
    assert ask(node, "readyz") == "ok\n"
    before = restarts(node)
    node.run("kill", "-9", *processes(node, POD, NAMESPACE))
    node.wait_for("the full cache to be Ready again", lambda: restarts(node) == before + 1 and is_ready(node))
    node.run("rm", f"{volume}/filler")
    node.wait_for(
        "the space is free again", lambda: json.loads(ask(node, "status"))["space"]["free"] > space["minFree"]
    )
    assert restarts(node) == before + 1


@pytest.mark.usefixtures("volume")
def test_changed_secret_is_followed(node: Node) -> None:
    """Another configuration and another certificate are used without a restart."""
    before, address = restarts(node), of_pod(node, "{.status.podIP}")
    changed = next(each for each in objects(a_small_mirror().of("other.example.com")) if each["kind"] == SECRET.name)
    node.apply([changed])
    certificate = ssl.PEM_cert_to_DER_cert(base64.b64decode(changed["data"][well_known.CERTIFICATE]).decode())
    node.wait_for("the new certificate is served", lambda: served(node, [address], PORT) == {certificate})
    node.wait_for("the new upstream is asked", lambda: '"https://other.example.com"' in ask(node, "status"))
    assert (restarts(node), is_ready(node)) == (before, True)
