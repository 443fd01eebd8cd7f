"""Run a cache pod under a real kubelet: without upstream, scanned, and with a full volume."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from common import names
from common.cache_protocol import PORT
from controller.certificates.x509 import issue_ca, issue_certificate
from controller.desired import desired_objects
from controller.model.inputs import ServingCertificate
from controller.objects import merge_patch
from controller.objects.resources import SECRET, SERVICE, STATEFUL_SET
from tests.localcluster.node import debian, images
from tests.localcluster.node.runtime import MODULES
from tests.support.controller import inputs, parsed, settings
from tests.support.mirrors import a_mirror
from tests.support.scanner import PACKAGE, Scan, assert_modern, command

if TYPE_CHECKING:
    from tests.localcluster.node.node import Node

# Probes and volumes belong to the kubelet, with any runtime; tests/e2e fills volumes with each runtime.
pytestmark = pytest.mark.parametrize("node", [MODULES], indirect=True, scope="module")

POD = "registry-mirror-docker-0"


def cache(node: Node) -> None:
    """Apply the cache of a mirror with a missing upstream, and without owner."""
    mirror = parsed(a_mirror().of("upstream.example.com").replicated(1).on_class("by-hand").storing("100Mi"))
    now = datetime.now(UTC)
    ca = issue_ca("mirrors", now)
    hosts = (mirror.masquerade, *names.service_hosts(mirror.name, "default"))
    known = inputs(tls=ServingCertificate(ca.certificate, issue_certificate(ca, hosts, now)))
    made = desired_objects(mirror, settings(REGISTRY_IMAGE=images.REGISTRY_IMAGE), known)
    objects = [merge_patch.without_nulls(body) for kind, body in made if kind in (SECRET, SERVICE, STATEFUL_SET)]
    for body in objects:
        # There is no mirror to own them: Kubernetes would collect them.
        for each in (body, *body.get("spec", {}).get("volumeClaimTemplates", ())):
            del each["metadata"]["ownerReferences"]
    node.apply(objects)


def is_ready(node: Node) -> bool:
    """Return True if the kubelet reports Ready."""
    path = "jsonpath={.status.conditions[?(@.type=='Ready')].status}"
    return node.cluster.run_kubectl("get", "pod", POD, "-o", path, check=False).stdout == "True"


def test_cache_pod_readiness(node: Node) -> None:
    (volume,) = node.add_volumes(1, "100Mi", megabytes=100)
    cache(node)
    node.wait_for("the cache pod to be Ready", lambda: is_ready(node))
    address = node.cluster.run_kubectl("get", "pod", POD, "-o", "jsonpath={.status.podIP}").stdout
    debian.install(PACKAGE)
    assert_modern(Scan(node.run(*command(PORT, address)).stdout))
    node.run("dd", "if=/dev/zero", f"of={volume}/filler", "bs=1M", "count=97", check=False)
    node.wait_for("the full cache not to be Ready", lambda: not is_ready(node))
    log = node.cluster.run_kubectl("logs", POD).stdout
    assert "less than 5 % of the volume is free" in log
    node.run("rm", f"{volume}/filler")
    node.wait_for("the cache to be Ready again", lambda: is_ready(node))
    processes = node.cluster.run_kubectl("exec", POD, "--", "ps").stdout
    first = next(line for line in processes.splitlines() if line.split()[0] == "1")
    assert "registry serve /etc/registry-mirror/config.yml" in first
    restarts = "jsonpath={.status.containerStatuses[0].restartCount}"
    assert node.cluster.run_kubectl("get", "pod", POD, "-o", restarts).stdout == "0"
