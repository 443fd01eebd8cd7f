"""Policies of somebody's, in the API server itself: they refuse what is written, or alter it as it is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from controller.objects.resources import Kind

if TYPE_CHECKING:
    from common.types import Json
    from tests.support.kube import Kube

_API: Final = "admissionregistration.k8s.io/v1"


def _kinds(way: str) -> tuple[Kind, Kind]:
    """The policy and its binding."""
    kind, path = f"{way}AdmissionPolicy", f"{way.lower()}admissionpolic"
    return (
        Kind(_API, f"{path}ies", kind, namespaced=False),
        Kind(_API, f"{path}ybindings", f"{kind}Binding", namespaced=False),
    )


REFUSING: Final = _kinds("Validating")
ALTERING: Final = _kinds("Mutating")


def rule(group: str, resource: str, *operations: str, name: str | None = None) -> Json:
    """What is looked at: objects of a resource, or the one of that name."""
    names = {} if name is None else {"resourceNames": [name]}
    return {"apiGroups": [group], "apiVersions": ["*"], "resources": [resource], "operations": [*operations], **names}


def refuse(kube: Kube, name: str, looked_at: Json, unless: str = "false") -> None:
    """A policy that refuses what does not meet the expression. The API server takes a moment to follow it."""
    policy, binding = REFUSING
    spec = {"matchConstraints": {"resourceRules": [looked_at]}, "validations": [{"expression": unless}]}
    kube.create(policy, {"metadata": {"name": name}, "spec": spec})
    kube.create(binding, {"metadata": {"name": name}, "spec": {"policyName": name, "validationActions": ["Deny"]}})


def alter(kube: Kube, name: str, looked_at: Json, change: str) -> None:
    """A policy that applies the expression to what is stored. The API server takes a moment to follow it."""
    policy, binding = ALTERING
    spec = {
        "matchConstraints": {"resourceRules": [looked_at]},
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "mutations": [{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": change}}],
    }
    kube.create(policy, {"metadata": {"name": name}, "spec": spec})
    kube.create(binding, {"metadata": {"name": name}, "spec": {"policyName": name}})


def lift(kube: Kube, name: str, kind: tuple[Kind, Kind] = REFUSING) -> None:
    """Takes a policy away."""
    for each in reversed(kind):
        kube.delete(each, name)
