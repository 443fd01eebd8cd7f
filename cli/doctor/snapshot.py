"""Read the objects for the checks. Secrets are not read."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Final

from cli.kubectl import KubectlError
from cli.objects import MIRRORS, NAME_LABEL, at, label, name_of

if TYPE_CHECKING:
    from cli.kubectl import Json, Kubectl
    from cli.session import Session

_OF_CLUSTER: Final = (
    "customresourcedefinitions,mutatingwebhookconfigurations,validatingwebhookconfigurations,nodes,storageclasses"
)
_OF_NAMESPACE: Final = (
    "deployments,statefulsets,daemonsets,services,endpointslices,persistentvolumeclaims,pods,events,"
    "leases.coordination.k8s.io"
)
_REFUSED: Final = re.compile(r'cannot (?:list|get|create) resource "([a-z]+)"')
_NO_KIND: Final = "the server doesn't have a resource type"
# Name of a mirror that is never stored, only sent through the webhook.
PROBE: Final = "plugin-doctor"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of a cluster. `unread` has the resources without permission to list them."""

    namespace: str
    now: datetime
    mirrors: list[Json] = field(default_factory=list)
    objects: list[Json] = field(default_factory=list)
    namespace_object: Json | None = None
    admission_refusal: str = ""
    unread: frozenset[str] = frozenset()
    kind_is_served: bool = True

    def of_kind(self, kind: str) -> list[Json]:
        """Return the objects of a kind: those of the namespace, or of the cluster."""
        return [each for each in self.objects if each.get("kind") == kind]

    def find(self, kind: str, name: str) -> Json | None:
        """Return an object."""
        return next((each for each in self.of_kind(kind) if name_of(each) == name), None)

    def deployment(self, name: str) -> Json | None:
        """Return the Deployment of a program. An installation may give it another name."""
        found = (each for each in self.of_kind("Deployment") if name in (name_of(each), label(each, NAME_LABEL)))
        return next(found, None)

    def warnings_about(self, kind: str, name: str) -> list[Json]:
        """Return the Warning Events about an object, the latest first."""
        found = [
            each
            for each in self.of_kind("Event")
            if each.get("type") == "Warning"
            and (at(each, "involvedObject", "kind"), at(each, "involvedObject", "name")) == (kind, name)
        ]
        return sorted(found, key=lambda each: str(each.get("lastTimestamp") or each.get("eventTime")), reverse=True)


def take(session: Session) -> Snapshot:
    """Return a snapshot. Raises KubectlError if the API server cannot be asked at all."""
    kubectl, unread = session.kubectl, set[str]()
    kubectl.text("get", "--raw=/version")
    objects = _listed(kubectl, unread, _OF_CLUSTER)
    mirrors, refusal = kubectl.readable_items(MIRRORS)
    kind_is_served = _NO_KIND not in refusal
    if kind_is_served:
        _note_refused(unread, refusal)
    objects += _listed(kubectl, unread, _OF_NAMESPACE, f"--namespace={session.namespace}")
    return Snapshot(
        namespace=session.namespace,
        now=_time_of(kubectl) or session.now,
        mirrors=mirrors,
        objects=objects,
        namespace_object=_namespace(kubectl, unread, session.namespace),
        admission_refusal=_refusal_of_a_mirror(kubectl, unread),
        unread=frozenset(unread),
        kind_is_served=kind_is_served,
    )


def _listed(kubectl: Kubectl, unread: set[str], kinds: str, *arguments: str) -> list[Json]:
    found, refusal = kubectl.readable_items(kinds, *arguments)
    _note_refused(unread, refusal)
    return found


def _note_refused(unread: set[str], refusal: str) -> None:
    refused = _REFUSED.findall(refusal)
    unread.update(refused)
    if refusal and not refused:
        raise KubectlError(refusal)


def _time_of(kubectl: Kubectl) -> datetime | None:
    """Return the API server's time. Every user may create this review. None if the API server refuses it."""
    try:
        review = json.loads(kubectl.text("auth", "whoami", "--output=json"))
        return datetime.fromisoformat(at(review, "metadata", "creationTimestamp"))
    except (KubectlError, TypeError, ValueError):
        return None


def _namespace(kubectl: Kubectl, unread: set[str], name: str) -> Json | None:
    try:
        return kubectl.find("namespaces", name)
    except KubectlError as error:
        if not error.is_forbidden:
            raise
        unread.add("namespaces")
        return None


def _refusal_of_a_mirror(kubectl: Kubectl, unread: set[str]) -> str:
    """Return the refusal of a mirror that is not stored; empty if the API server accepts it."""
    body = {
        "apiVersion": "k8s.osp.tech/v1",
        "kind": "RegistryMirror",
        "metadata": {"name": PROBE},
        "spec": {"upstreamUrl": "registry.example.com"},
    }
    try:
        kubectl.text("create", "--dry-run=server", "--output=name", "--filename=-", stdin=json.dumps(body))
    except KubectlError as error:
        if error.is_forbidden and "cannot create" in str(error):
            unread.add("admission")
            return ""
        return str(error)
    return ""
