"""Check the rules of spec.cache and spec.agent. The API server has the same rules for pods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from common.admission_warnings import warnings_for
from common.model import RegistryMirrorSpec
from common.validation import validate
from tests.support.mirrors import a_mirror
from tests.support.placements import WRONG_AFFINITIES, WRONG_RESOURCES, WRONG_TOLERATIONS, nodes, pods

if TYPE_CHECKING:
    from common.types import Json


def _errors(**cache: Any) -> list[str]:
    return [str(error) for error in validate(a_mirror().placing_caches(**cache).raw())]


@pytest.mark.parametrize(("affinity", "sentence"), WRONG_AFFINITIES)
def test_wrong_affinity_is_one_error(affinity: Json, sentence: str) -> None:
    (error,) = _errors(affinity=affinity)
    assert error.startswith("spec.cache.affinity.")
    assert sentence in error


@pytest.mark.parametrize(("toleration", "sentence"), WRONG_TOLERATIONS)
def test_wrong_toleration_is_one_error(toleration: Json, sentence: str) -> None:
    (error,) = _errors(tolerations=[{"key": "infra"}, toleration])
    assert error.startswith("spec.cache.tolerations[1]")
    assert sentence in error


@pytest.mark.parametrize(("resources", "sentence"), WRONG_RESOURCES)
@pytest.mark.parametrize("pods", ["cache", "agent"])
def test_wrong_resources_are_one_error(pods: str, resources: Json, sentence: str) -> None:
    (error,) = validate(a_mirror().having(f"spec.{pods}.resources", resources).raw())
    assert error.path.startswith(f"spec.{pods}.resources")
    assert sentence in error.sentence


@pytest.mark.parametrize(
    "affinity",
    [
        {},
        {"nodeAffinity": {}, "podAffinity": None},
        nodes(),
        nodes({"key": "cpu", "operator": "Gt", "values": ["4"]}, {"key": "zone", "operator": "In", "values": [""]}),
        nodes(matchFields=[{"key": "metadata.name", "operator": "NotIn", "values": ["node-1.example"]}]),
        pods(labelSelector={"matchLabels": {"a": "b"}}, matchLabelKeys=["c"], mismatchLabelKeys=["a"]),
    ],
)
def test_usual_affinity_is_accepted(affinity: Json) -> None:
    assert _errors(affinity=affinity) == []


@pytest.mark.parametrize("pods", ["cache", "agent"])
@pytest.mark.parametrize(
    ("part", "key"),
    [
        *(("labels", key) for key in ("app", "mirror", "component", "k8s.osp.tech/upstream")),
        *(("annotations", key) for key in ("k8s.osp.tech/cleaning", "K8s.osp.tech/cleaning")),
    ],
)
def test_own_keys_cannot_be_set(pods: str, part: str, key: str) -> None:
    (error,) = validate(a_mirror().having(f"spec.{pods}.{part}", {key: "x", "team": "y"}).raw())
    assert error.path.startswith(f"spec.{pods}.{part}")
    assert error.message == "Forbidden: the controller sets this key itself; remove it, or use another key"


@pytest.mark.parametrize(
    "key", ["container.apparmor.security.beta.kubernetes.io/cache", "seccomp.security.alpha.kubernetes.io/pod"]
)
def test_annotation_against_confinement_is_refused(key: str) -> None:
    (error,) = _errors(annotations={key: "unconfined"})
    assert error.endswith("Forbidden: the pods keep the default profile of the runtime; remove this annotation")


@pytest.mark.parametrize("program", ["registrymirror-webhook", "registrymirror-controller"])
def test_label_of_webhook_is_refused(program: str) -> None:
    """The Service of the webhook would send reviews to cache pods."""
    (error,) = _errors(labels={"app.kubernetes.io/name": program})
    assert "must not have app.kubernetes.io/name of the webhook or the controller" in error
    assert _errors(labels={"app.kubernetes.io/name": "cache"}) == []


@pytest.mark.parametrize("resource", ["storage", "nvidia.com/gpu", "hugepages-2Mi", "CPU", "pods"])
@pytest.mark.parametrize("kind", ["requests", "limits"])
def test_other_resources_are_refused(kind: str, resource: str) -> None:
    (error,) = _errors(resources={kind: {resource: "1"}})
    assert error.endswith(': Forbidden: only "cpu", "memory" and "ephemeral-storage" can be set; remove this one')


def test_request_may_equal_limit() -> None:
    assert _errors(resources={"requests": {"cpu": "1000m", "memory": 0}, "limits": {"cpu": 1}}) == []


def test_annotations_have_a_limit() -> None:
    assert _errors(annotations={"a": "x" * 250_000}) == []
    (error,) = _errors(annotations={"a": "x" * 250_000, "b": "x" * 10_000})
    assert "must have at most 258048 bytes" in error


def _warnings(**cache: Any) -> list[str]:
    spec = a_mirror().placing_caches(**cache).raw()["spec"]
    return warnings_for(RegistryMirrorSpec.model_validate(spec))


@pytest.mark.parametrize(
    "cache",
    [
        {"tolerations": [{"key": "infra", "operator": "Exists"}]},
        {"tolerations": [{"operator": "Exists", "effect": "NoSchedule"}]},
        {"tolerations": [{"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60}]},
        {"priorityClassName": "infra", "resources": {"limits": {"memory": "64Mi", "cpu": "1m"}}},
    ],
)
def test_usual_placement_has_no_warning(cache: Json) -> None:
    assert _warnings(**cache) == []


def test_surprising_placement_is_warned_about() -> None:
    found = _warnings(
        tolerations=[{"key": "infra"}, {"operator": "Exists"}],
        priorityClassName="system-node-critical",
        resources={"requests": {"memory": "5Mi"}, "limits": {"memory": "5Mi"}},
    )
    assert [each.partition(": ")[::2] for each in found] == [
        (
            "spec.cache.resources.limits.memory",
            "5Mi is too small for the program, so its pods may not start; leave it out for the default",
        ),
        (
            "spec.cache.priorityClassName",
            (
                "system-node-critical evicts pods of other applications from full nodes; use a class with"
                " preemptionPolicy: Never if it must not"
            ),
        ),
        (
            "spec.cache.tolerations[1]",
            (
                "tolerates every taint, so cache pods stay on nodes that are down and are not replaced; name the key of"
                " a taint"
            ),
        ),
    ]
    spec = a_mirror().placing_agents(priorityClassName="system-cluster-critical").raw()["spec"]
    (warning,) = warnings_for(RegistryMirrorSpec.model_validate(spec))
    assert warning.startswith("spec.agent.priorityClassName: system-cluster-critical evicts")
