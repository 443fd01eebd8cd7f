"""Test findings that a test cluster cannot show, because it has no Deployments and no storage driver."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest

from cli.commands.doctor import as_text, findings, reported
from cli.doctor import storage
from cli.doctor.finding import ERROR, WARNING, Finding
from cli.doctor.snapshot import Snapshot
from cli.kubectl import Kubectl
from cli.objects import CONTROLLER, DIALER, MIRRORS, WEBHOOK
from cli.session import Session
from common import quantity
from common.cache_protocol import UpstreamReason
from common.image_hosts import spellings
from controller.status.reasons import every as every_reason
from controller.storage.resize_plan import least_request

if TYPE_CHECKING:
    from common.types import Json
    from controller.model.condition import Reason

NOW = datetime(2026, 1, 2, tzinfo=UTC)
NAMESPACE: Json = {"kind": "Namespace", "metadata": {"name": "registry-mirror"}}
CRD: Json = {
    "kind": "CustomResourceDefinition",
    "metadata": {"name": MIRRORS},
    "status": {"conditions": [{"type": "Established", "status": "True"}]},
}


def deployment(name: str, ready: int = 2, desired: int = 2) -> Json:
    """Return a Deployment."""
    return {
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"replicas": desired},
        "status": {"readyReplicas": ready},
    }


def registration(kind: str, bundle: str = "Q0E=", namespace: str = "registry-mirror") -> Json:
    """Return the registration of the webhook."""
    client = {"caBundle": bundle, "service": {"namespace": namespace}}
    return {"kind": kind, "metadata": {"name": "registrymirror"}, "webhooks": [{"clientConfig": client}]}


def lease(seconds: float = 0) -> Json:
    """Return the lease of a leader that has renewed it so many seconds ago."""
    spec = {"holderIdentity": "a", "renewTime": (NOW - timedelta(seconds=seconds)).isoformat()}
    return {"kind": "Lease", "metadata": {"name": CONTROLLER}, "spec": spec}


HEALTHY: list[Json] = [
    CRD,
    deployment(CONTROLLER),
    deployment(WEBHOOK),
    lease(),
    registration("MutatingWebhookConfiguration"),
    registration("ValidatingWebhookConfiguration"),
]


def found(*changed: Json, **fields: Any) -> list[Finding]:
    """Return the findings in a healthy cluster with changed or further objects."""
    replaced = {(each["kind"], each["metadata"]["name"]) for each in changed}
    objects = [each for each in HEALTHY if (each["kind"], each["metadata"]["name"]) not in replaced]
    known = {"namespace_object": NAMESPACE, "objects": [*objects, *changed], **fields}
    return list(findings(Snapshot("registry-mirror", NOW, **known)))


def reasons(*changed: Json, **fields: Any) -> list[tuple[str, str]]:
    """Return severity and reason of the findings."""
    return [(each.severity, each.reason) for each in found(*changed, **fields)]


def test_healthy_cluster_has_no_findings() -> None:
    assert reasons() == []


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        (deployment(CONTROLLER, desired=0, ready=0), [(ERROR, "ScaledToZero")]),
        (deployment(WEBHOOK, ready=0), [(ERROR, "NotAvailable")]),
        (deployment(WEBHOOK, ready=1), [(WARNING, "NotAvailable")]),
        (lease(seconds=61), [(ERROR, "NoLeader")]),
        (registration("MutatingWebhookConfiguration", bundle=""), [(ERROR, "NoCABundle")]),
        (registration("ValidatingWebhookConfiguration", namespace="other"), [(ERROR, "OtherNamespace")]),
        ({**CRD, "status": {}}, [(ERROR, "KindNotEstablished")]),
        ({**CRD, "metadata": {"name": MIRRORS, "deletionTimestamp": "x"}}, [(ERROR, "KindTerminating")]),
    ],
)
def test_fault_of_the_installation_is_found(changed: Json, expected: list[tuple[str, str]]) -> None:
    assert reasons(changed) == expected


def test_deployment_with_another_name_is_recognised() -> None:
    renamed = {**deployment("release-controller"), "metadata": {"name": "x", "labels": {}}}
    renamed["metadata"]["labels"]["app.kubernetes.io/name"] = CONTROLLER
    objects = [each for each in HEALTHY if each["metadata"]["name"] != CONTROLLER or each["kind"] == "Lease"]
    taken = Snapshot("registry-mirror", NOW, objects=[*objects, renamed], namespace_object=NAMESPACE)
    assert findings(taken) == []


def test_pod_explains_its_deployment() -> None:
    waiting = {"state": {"waiting": {"reason": "ErrImagePull", "message": "not found"}}}
    pod = {
        "kind": "Pod",
        "metadata": {"name": "p", "labels": {"app.kubernetes.io/name": CONTROLLER}},
        "status": {"containerStatuses": [waiting]},
    }
    objects = [*(each for each in HEALTHY if each["kind"] != "Deployment"), deployment(WEBHOOK)]
    taken = Snapshot(
        "registry-mirror", NOW, objects=[*objects, deployment(CONTROLLER, ready=0), pod], namespace_object=NAMESPACE
    )
    (finding,) = findings(taken)
    assert finding.message.endswith("ErrImagePull: not found")


def test_unreadable_kinds_give_no_findings() -> None:
    kinds = (
        "customresourcedefinitions deployments leases mutatingwebhookconfigurations validatingwebhookconfigurations"
        " namespaces admission"
    )
    assert findings(Snapshot("registry-mirror", NOW, unread=frozenset(kinds.split()))) == []


def test_missing_installation_is_found() -> None:
    found = {each.reason for each in findings(Snapshot("registry-mirror", NOW))}
    assert found == {"KindMissing", "NamespaceMissing", "NotRegistered"}


def shown(form: str = "table", **fields: Any) -> tuple[int, str, str]:
    """Return the exit status of `doctor` in a healthy cluster, and what it prints to stdout and stderr."""
    known = {"namespace_object": NAMESPACE, "objects": HEALTHY, **fields}
    session = Session(Kubectl(), io.StringIO(), io.StringIO(), form)
    status = reported(session, Snapshot("registry-mirror", NOW, **known))
    return status, session.out.getvalue(), session.err.getvalue()  # type: ignore[attr-defined]


def test_unread_kinds_are_named() -> None:
    status, _, hints = shown(unread=frozenset({"pods"}))
    assert status == 0
    assert hints.startswith("Not checked, because you may not list it: pods.\nNo findings in the rest.")
    status, document, _ = shown("json", unread=frozenset({"pods"}))
    assert (status, json.loads(document)) == (0, {"items": [], "notChecked": ["pods"]})


def test_unread_mirrors_are_no_success() -> None:
    status, _, hints = shown(unread=frozenset({"registrymirrors"}))
    assert (status, hints) == (2, "Not checked, because you may not list it: registrymirrors.\n")


def test_missing_kind_is_found_without_rights() -> None:
    """The user may not list CustomResourceDefinitions, but each user may ask which kinds exist."""
    (finding,) = found(kind_is_served=False, unread=frozenset({"customresourcedefinitions"}), objects=HEALTHY[1:])
    assert finding.reason == "KindMissing"
    assert "helm upgrade --install registry-mirror CHART -n registry-mirror," in finding.action
    assert "kubectl apply -k deploy/." in finding.action


def test_refused_mirror_is_found_without_rights() -> None:
    """The user may create mirrors, and may not list CustomResourceDefinitions."""
    unread = frozenset({"customresourcedefinitions"})
    refusal = 'failed calling webhook "x"'
    assert reasons(admission_refusal=refusal, unread=unread, objects=HEALTHY[1:]) == [(ERROR, "WebhookUnreachable")]


def waiting_pod(labels: dict[str, str], reason: str) -> Json:
    """Return a pod whose container waits."""
    status = {"containerStatuses": [{"state": {"waiting": {"reason": reason, "message": "x"}}}]}
    return {"kind": "Pod", "metadata": {"name": "p", "labels": labels}, "status": status}


@pytest.mark.parametrize("reason", ["ImagePullBackOff", "InvalidImageName"])
@pytest.mark.parametrize("program", [CONTROLLER, WEBHOOK, DIALER])
def test_image_of_the_system_is_a_value(program: str, reason: str) -> None:
    """IMAGE_PULL_SECRETS holds for caches and agents only."""
    pod = waiting_pod({"app.kubernetes.io/name": program}, reason)
    (finding,) = found(pod) if program == DIALER else found(pod, deployment(program, ready=0))
    assert "global.imageRegistry" in finding.action
    assert "IMAGE_PULL_SECRETS" not in finding.action


def test_image_of_a_cache_is_a_setting() -> None:
    (finding,) = found(waiting_pod({"mirror": "a"}, "ImagePullBackOff"))
    assert "IMAGE_PULL_SECRETS of the controller" in finding.action


def test_secret_of_the_webhook_needs_the_controller() -> None:
    message = 'MountVolume.SetUp failed for volume "certificate" : secret "registrymirror-webhook-tls" not found'
    involved = {"kind": "Pod", "name": "p"}
    event = {"kind": "Event", "metadata": {"name": "e"}, "type": "Warning", "reason": "FailedMount"}
    pod = {"kind": "Pod", "metadata": {"name": "p", "labels": {"app.kubernetes.io/name": WEBHOOK}}}
    (finding,) = found(pod, {**event, "involvedObject": involved, "message": message}, deployment(WEBHOOK, ready=0))
    assert finding.action.startswith("The controller creates the Secret")
    assert "kubectl get pods -n registry-mirror -l app.kubernetes.io/name=registrymirror-controller" in finding.action


@pytest.mark.parametrize("condition", [each for each in every_reason() if each.status == "True" and each.action])
def test_condition_that_needs_attention_is_found(condition: Reason) -> None:
    """OriginalAgent is a choice, RollingOut serves, and NodesUseUpstream means that CacheAvailable is False."""
    mirror: Json = {
        "metadata": {"name": "a", "generation": 1, "creationTimestamp": NOW.isoformat()},
        "status": {
            "observedGeneration": 1,
            "conditions": [{"type": condition.type, "status": "True", "reason": condition.name, "message": "x"}],
        },
    }
    is_silent = condition.type == "Stalled" or condition.name in {"OriginalAgent", "RollingOut", "NodesUseUpstream"}
    expected = [] if is_silent else [(WARNING, condition.name)]
    assert reasons(mirrors=[mirror], unread=frozenset({"statefulsets"})) == expected


@pytest.mark.parametrize(("seconds", "expected"), [(5, []), (60, [(WARNING, "NotAsked")])])
def test_new_cache_may_not_have_asked(seconds: float, expected: list[tuple[str, str]]) -> None:
    """The cache is ready a few seconds before it has asked the upstream."""
    changed = (NOW - timedelta(seconds=seconds)).isoformat()
    reason = UpstreamReason.NOT_ASKED.value
    condition = {"type": "UpstreamReachable", "status": "Unknown", "reason": reason, "lastTransitionTime": changed}
    status = {"observedGeneration": 1, "conditions": [condition]}
    assert reasons(mirrors=[{"metadata": {"name": "a", "generation": 1}, "status": status}]) == expected


@pytest.mark.parametrize("name", spellings("docker.io", "https")[:4])
def test_each_name_of_docker_hub_is_found(name: str) -> None:
    """The plugin has its own list of the names, because it imports no common code."""
    status = {"observedGeneration": 1, "upstream": "https://registry-1.docker.io", "masqueradeUrl": name}
    assert len(reasons(mirrors=[{"metadata": {"name": "a", "generation": 1}, "status": status}])) == 1


def claim(asked: str, granted: str) -> Json:
    """Return a bound claim of the mirror `a`."""
    return {
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "c", "labels": {"mirror": "a"}},
        "spec": {"resources": {"requests": {"storage": asked}}},
        "status": {"phase": "Bound", "capacity": {"storage": granted}},
    }


def wanting(size: str) -> Json:
    """Return the mirror `a` with a requested size."""
    claim_spec = {"resources": {"requests": {"storage": size}}}
    return {
        "metadata": {"name": "a", "generation": 1},
        "spec": {"volumeClaimTemplate": {"spec": claim_spec}},
        "status": {"observedGeneration": 1},
    }


def test_claim_that_asks_for_too_much_is_found() -> None:
    """K9: the driver has refused 100Ti, and the spec has the former size again."""
    assert reasons(claim("20Gi", "20Gi"), mirrors=[wanting("20Gi")]) == []
    assert reasons(claim("100Ti", "20Gi"), mirrors=[wanting("20Gi")]) == [(WARNING, "StorageNotGranted")]
    assert reasons(claim("100Ti", "20Gi"), mirrors=[wanting("100Ti")]) == [(WARNING, "StorageNotGranted")]
    (finding,) = found(claim("100Ti", "20Gi"), mirrors=[wanting("20Gi")])
    assert f"Set its request to {20 * 2**30 + 1}:" in finding.action, "Kubernetes accepts no less"


@pytest.mark.parametrize("granted", ["20Gi", "19.5Gi", "20971520500m"])
def test_growth_that_was_taken_back_is_no_finding(granted: str) -> None:
    """Kubernetes accepts no smaller request, so no advice can be followed."""
    least = str(least_request(claim("100Ti", granted)))
    assert reasons(claim(least, granted), mirrors=[wanting("19Gi")]) == []
    more = str(int(least) + 1)
    assert reasons(claim(more, granted), mirrors=[wanting("19Gi")]) == [(WARNING, "StorageNotGranted")]


def test_lost_volume_is_found() -> None:
    lost = {**claim("1Gi", "1Gi"), "status": {"phase": "Lost"}}
    assert reasons(lost, mirrors=[wanting("1Gi")]) == [(ERROR, "VolumeLost")]


@pytest.mark.parametrize("text", ["20Gi", "1.5G", "100", "0", "500m", "3Ti", "7k", "2Ki", "1P"])
def test_quantity_is_that_of_the_controller(text: str) -> None:
    assert storage.parsed(text) == Fraction(quantity.parse(text))


@pytest.mark.parametrize(
    ("seconds", "finalizers", "action"),
    [
        (29, [], None),
        (30, [], "kubectl delete pod -n registry-mirror p --force"),
        (30, ["example.com/hold"], "Find out why"),
    ],
)
def test_pod_that_stays_terminating_is_found(seconds: int, finalizers: list[str], action: str | None) -> None:
    """K4: after a node died its pods are deleted, and no kubelet confirms it."""
    due = (NOW - timedelta(seconds=seconds)).isoformat()
    metadata = {"name": "p", "labels": {"mirror": "a"}, "deletionTimestamp": due, "finalizers": finalizers}
    pod = {"kind": "Pod", "metadata": metadata, "spec": {"nodeName": "n"}}
    found = findings(Snapshot("registry-mirror", NOW, objects=[*HEALTHY, pod], namespace_object=NAMESPACE))
    assert [(each.severity, each.reason) for each in found] == ([(ERROR, "Terminating")] if action else [])
    assert all((action or "") in each.action for each in found)


def test_unready_node_is_found() -> None:
    node = {
        "kind": "Node",
        "metadata": {"name": "n"},
        "status": {"conditions": [{"type": "Ready", "status": "Unknown", "message": "Kubelet stopped posting."}]},
    }
    pod = {
        "kind": "Pod",
        "metadata": {"name": "p", "labels": {"mirror": "a", "component": "hostess-certificate"}},
        "spec": {"nodeName": "n"},
    }
    assert reasons(node) == []
    assert reasons(node, pod) == [(WARNING, "NodeNotReady")]


def test_certificate_that_ends_soon_is_a_warning() -> None:
    """The condition is True."""
    condition = {"type": "CertificateValid", "status": "True", "reason": "ExpiresSoon", "message": "Ends."}
    mirror = wanting("1Gi")
    mirror["status"]["conditions"] = [condition, {**condition, "type": "Ready", "status": "False"}]
    assert reasons(mirrors=[mirror]) == [(WARNING, "ExpiresSoon")]


def test_text_has_one_paragraph_per_finding() -> None:
    found = [Finding(ERROR, "A", "pod/a", "It is wrong.", "Repair it."), Finding(WARNING, "B", "pod/b", "x", "y")]
    assert as_text(found) == ("ERROR   pod/a  A\n  It is wrong.\n  -> Repair it.\n\nWARNING pod/b  B\n  x\n  -> y\n")
