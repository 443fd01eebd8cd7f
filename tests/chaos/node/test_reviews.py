"""Test a hundred reviews per second while certificates and pods of the webhook change: none fails."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from controller.objects.resources import POD
from tests.localcluster.node.installed import NAMESPACE
from tests.support.reviewing import reviewing
from tests.support.serving import issued, served

if TYPE_CHECKING:
    from tests.support.chaos import Chaos
    from tests.support.reviewing import Reviews
    from tests.support.testbed import Testbed

RATE = 100.0
WEBHOOK = "app.kubernetes.io/name=registrymirror-webhook"
SERVING, CA = "registrymirror-webhook-tls", "registrymirror-webhook-ca"
SYNCED_WITHIN = 60.0  # seconds until the kubelet syncs a changed Secret to a pod; at most 8 are usual


def test_webhook_certificate_deleted(testbed: Testbed, chaos: Chaos) -> None:
    """The controller issues another one, and both replicas reload it."""
    _replaced(testbed, chaos, SERVING, "webhook's certificate deleted")


def test_webhook_ca_deleted(testbed: Testbed, chaos: Chaos) -> None:
    """The API server trusts the old CA until all replicas use the new one."""
    _replaced(testbed, chaos, CA, "webhook's CA deleted")


def _replaced(testbed: Testbed, chaos: Chaos, secret: str, fault: str) -> None:
    before = issued(testbed, SERVING)
    with reviewing(testbed.node.cluster, RATE) as reviews:
        reviews.more(100)
        began = time.monotonic()
        testbed.kubectl("delete", "secret", secret)
        testbed.until(lambda: issued(testbed, SERVING) not in {b"", before}, SYNCED_WITHIN)
        testbed.until(
            lambda: served(testbed.node, pods(testbed).values(), 8443) == {issued(testbed, SERVING)}, SYNCED_WITHIN
        )
        recovered = time.monotonic() - began
        reviews.more(200)
    assert reviews.failed == []
    chaos.row(fault, lost=lost(reviews), recovered=recovered, note=summary(reviews))


def test_webhook_rollout_and_drain(testbed: Testbed, chaos: Chaos) -> None:
    """New pods come first, and old ones get no requests after their end."""
    deployment = "deployment/registrymirror-webhook"
    with reviewing(testbed.node.cluster, RATE) as reviews:
        reviews.more(100)
        for _ in range(2):
            testbed.kubectl("rollout", "restart", deployment)
            testbed.kubectl("rollout", "status", deployment, "--timeout=120s")
            testbed.until(lambda: len(pods(testbed)) == 2)  # terminating pods are gone
        rolled = len(reviews.failed)
        for name in pods(testbed):
            evict(testbed, name)
            testbed.until(lambda name=name: name not in pods(testbed))  # type: ignore[misc]
            testbed.kubectl("rollout", "status", deployment, "--timeout=120s")
        reviews.more(100)
    assert (rolled, reviews.failed) == (0, [])
    chaos.row("webhook rolled out twice and drained", lost=lost(reviews), note=summary(reviews))


def pods(testbed: Testbed) -> dict[str, str]:
    """Return names and addresses of the webhook's pods, terminating ones included."""
    found = testbed.kube.every(POD, labelSelector=WEBHOOK)
    return {pod["metadata"]["name"]: pod["status"].get("podIP", "") for pod in found}


def evict(testbed: Testbed, pod: str) -> None:
    """Evict a pod as `kubectl drain` does, and retry while its disruption budget forbids it."""
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": NAMESPACE}}
    path = POD.path(NAMESPACE, pod, "eviction")
    testbed.until(lambda: testbed.kube.http.post(path, json=body).is_success)


def lost(reviews: Reviews) -> str:
    """Return the number of failures."""
    return f"{len(reviews.failed)} of {len(reviews.times)} creates"


def summary(reviews: Reviews) -> str:
    """Return the rate of the reviews."""
    return f"{2 * reviews.rate:.0f} reviews a second"
