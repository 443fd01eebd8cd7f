"""Check the installation: the kind, the webhook, the controller and their registrations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cli.doctor.finding import ERROR, WARNING, Finding
from cli.doctor.pods import stuck
from cli.objects import CONTROLLER, MIRRORS, NAME_LABEL, WEBHOOK, age, at, condition, label, seconds_since

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cli.doctor.snapshot import Snapshot

# Seconds. The leader renews its lease every few seconds, and another replica takes it over within half a minute.
_LEASE_MAX: Final = 60.0
_REGISTRATION: Final = "registrymirror"
# Users of the chart have no deploy/.
_INSTALL: Final = (
    "Install the system as before. With Helm: helm upgrade --install registry-mirror CHART -n {namespace}, with your"
    " values. Otherwise: kubectl apply -k deploy/"
)
_RELEASE: Final = 'kubectl patch rm NAME --type=merge -p \'{"metadata":{"finalizers":null}}\''
_REGISTRATIONS: Final = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")


def check(snapshot: Snapshot) -> Iterator[Finding]:
    """Yield the findings of the installation."""
    yield from _kind(snapshot)
    yield from _namespace(snapshot)
    yield from _deployments(snapshot)
    yield from _leader(snapshot)
    yield from _registrations(snapshot)
    yield from _admission(snapshot)


def _install(snapshot: Snapshot) -> str:
    return f"{_INSTALL.format(namespace=snapshot.namespace)}."


def _kind(snapshot: Snapshot) -> Iterator[Finding]:
    if "customresourcedefinitions" in snapshot.unread and snapshot.kind_is_served:
        return
    found, name = snapshot.find("CustomResourceDefinition", MIRRORS), f"customresourcedefinition/{MIRRORS}"
    if found is None:
        yield Finding(ERROR, "KindMissing", name, "The kind RegistryMirror is not installed.", _install(snapshot))
    elif at(found, "metadata", "deletionTimestamp"):
        yield Finding(
            ERROR,
            "KindTerminating",
            name,
            "The kind RegistryMirror is being deleted. It waits for mirrors, which wait for their finalizer.",
            "Install the system again and delete the mirrors first, or remove the finalizer of each mirror:"
            f" {_RELEASE}",
        )
    elif condition(found, "Established").get("status") != "True":
        message = condition(found, "NamesAccepted").get("message") or "The API server does not serve the kind."
        yield Finding(ERROR, "KindNotEstablished", name, message, "Remove the kind that has the same names.")


def _namespace(snapshot: Snapshot) -> Iterator[Finding]:
    if "namespaces" in snapshot.unread:
        return
    name, found = f"namespace/{snapshot.namespace}", snapshot.namespace_object
    if found is None:
        action = f"{_install(snapshot)} If the system has another namespace, name it with -n."
        yield Finding(ERROR, "NamespaceMissing", name, "The namespace of the system does not exist.", action)
    elif at(found, "metadata", "deletionTimestamp"):
        yield Finding(
            ERROR,
            "NamespaceTerminating",
            name,
            "The namespace of the system is being deleted. Nodes pull from the upstream.",
            "Wait until it is gone, then install the system again. To remove it for good, delete the mirrors, and"
            f" remove the finalizer of those that stay: {_RELEASE}",
        )


def _deployments(snapshot: Snapshot) -> Iterator[Finding]:
    if "deployments" in snapshot.unread or snapshot.namespace_object is None:
        return
    for name, effect in (
        (CONTROLLER, "No mirror is created, repaired or deleted."),
        (WEBHOOK, "No mirror can be created, and no spec can be changed."),
    ):
        found = snapshot.deployment(name)
        where = f"deployment/{name}"
        if found is None:
            yield Finding(ERROR, "DeploymentMissing", where, f"It does not exist. {effect}", _install(snapshot))
            continue
        desired, ready = at(found, "spec", "replicas", default=1), at(found, "status", "readyReplicas", default=0)
        scale = f"kubectl scale deployment {name} -n {snapshot.namespace} --replicas=2"
        if desired == 0:
            yield Finding(ERROR, "ScaledToZero", where, f"It has no replicas. {effect}", f"Run: {scale}")
        elif ready < desired:
            severity, rest = (ERROR, effect) if ready == 0 else (WARNING, "The others work.")
            reason, action = _why(snapshot, name)
            message = f"{ready} of {desired} pods are ready. {rest} {reason}".rstrip()
            yield Finding(severity, "NotAvailable", where, message, action)


def _why(snapshot: Snapshot, name: str) -> tuple[str, str]:
    """Return the reason of a pod without readiness, and an action."""
    pods = [each for each in snapshot.of_kind("Pod") if label(each, NAME_LABEL) == name]
    found = next((each for each in (stuck(pod, snapshot) for pod in pods) if each), None)
    if found:
        return f"{found.reason}: {found.message}", found.action
    if name == WEBHOOK:
        return "", "Look at its pods. They wait for the controller, which issues their certificate."
    return "", f"Run: kubectl logs -n {snapshot.namespace} deployment/{name}"


def _leader(snapshot: Snapshot) -> Iterator[Finding]:
    deployment = snapshot.deployment(CONTROLLER)
    if "leases" in snapshot.unread or deployment is None or not at(deployment, "status", "readyReplicas"):
        return
    lease, name = snapshot.find("Lease", CONTROLLER), f"lease/{CONTROLLER}"
    renewed = at(lease, "spec", "renewTime", default="")
    silent = seconds_since(renewed, snapshot.now)
    if not at(lease, "spec", "holderIdentity") or silent > _LEASE_MAX:
        since = f" The last one renewed its lease {age(silent)} ago." if renewed else ""
        yield Finding(
            ERROR,
            "NoLeader",
            name,
            f"No controller leads.{since} No mirror is created, repaired or deleted.",
            f"Read its log: kubectl logs -n {snapshot.namespace} deployment/{CONTROLLER}. A slow API server,"
            " another clock on its node, or missing permissions can be the cause.",
        )


def _registrations(snapshot: Snapshot) -> Iterator[Finding]:
    for kind in _REGISTRATIONS:
        if f"{kind.lower()}s" in snapshot.unread:
            continue
        name, found = f"{kind.lower()}/{_REGISTRATION}", snapshot.find(kind, _REGISTRATION)
        if found is None:
            message = "The webhook is not registered. Mistakes in a mirror are found late, and defaults are missing."
            yield Finding(ERROR, "NotRegistered", name, message, _install(snapshot))
            continue
        for webhook in found.get("webhooks", ()):
            client = webhook.get("clientConfig", {})
            if not client.get("caBundle"):
                yield Finding(
                    ERROR,
                    "NoCABundle",
                    name,
                    "The API server cannot verify the webhook, so it refuses mirrors.",
                    "Start the controller, which publishes caBundle. With cert-manager, look at its CA injector.",
                )
            target = at(client, "service", "namespace")
            if target not in (None, snapshot.namespace):
                yield Finding(
                    ERROR,
                    "OtherNamespace",
                    name,
                    f"The registration names the namespace {target}, and the system is in {snapshot.namespace}.",
                    "Remove the other installation, or set the namespace in the registration.",
                )


def _admission(snapshot: Snapshot) -> Iterator[Finding]:
    refusal = snapshot.admission_refusal
    if not refusal or not snapshot.kind_is_served:
        return
    if "failed calling webhook" in refusal:
        action = "Start the pods of the webhook. Behind a firewall, open the port of its pods for the API server."
        yield Finding(ERROR, "WebhookUnreachable", f"deployment/{WEBHOOK}", refusal, action)
    elif "MASQUERADE_DOMAINS" not in refusal and "masqueradeUrl" not in refusal:
        action = "Read the refusal. Another admission webhook or policy may refuse mirrors."
        yield Finding(WARNING, "MirrorRefused", f"kind/{MIRRORS}", refusal, action)
