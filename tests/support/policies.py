"""Create admission policies of other administrators that refuse or change objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from controller.objects.resources import Kind

if TYPE_CHECKING:
    from common.types import Json
    from tests.support.kube import Kube

_API: Final = "admissionregistration.k8s.io/v1"


def _kinds(way: str) -> tuple[Kind, Kind]:
    """Return the kinds of a policy and of its binding."""
    kind, path = f"{way}AdmissionPolicy", f"{way.lower()}admissionpolic"
    return (
        Kind(_API, f"{path}ies", kind, namespaced=False),
        Kind(_API, f"{path}ybindings", f"{kind}Binding", namespaced=False),
    )


REFUSING: Final = _kinds("Validating")
ALTERING: Final = _kinds("Mutating")


def rule(group: str, resource: str, *operations: str, name: str | None = None) -> Json:
    """Return a rule for all objects of a resource, or for one name."""
    names = {} if name is None else {"resourceNames": [name]}
    return {"apiGroups": [group], "apiVersions": ["*"], "resources": [resource], "operations": [*operations], **names}


def refuse(kube: Kube, name: str, matched: Json, unless: str = "false") -> None:
    """Create a policy that refuses objects unless the expression is true. It takes effect after a moment."""
    policy, binding = REFUSING
    spec = {"matchConstraints": {"resourceRules": [matched]}, "validations": [{"expression": unless}]}
    kube.create(policy, {"metadata": {"name": name}, "spec": spec})
    kube.create(binding, {"metadata": {"name": name}, "spec": {"policyName": name, "validationActions": ["Deny"]}})


def alter(kube: Kube, name: str, matched: Json, change: str) -> None:
    """Create a policy that applies the expression to stored objects. It takes effect after a moment."""
    policy, binding = ALTERING
    spec = {
        "matchConstraints": {"resourceRules": [matched]},
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "mutations": [{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": change}}],
    }
    kube.create(policy, {"metadata": {"name": name}, "spec": spec})
    kube.create(binding, {"metadata": {"name": name}, "spec": {"policyName": name}})


def lift(kube: Kube, name: str, kind: tuple[Kind, Kind] = REFUSING) -> None:
    """Delete a policy."""
    for each in reversed(kind):
        kube.delete(each, name)
