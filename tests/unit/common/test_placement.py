"""Check the rules of spec.cache and spec.agent. The API server has the same rules for pods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from common.admission_warnings import warnings_for
from common.model import RegistryMirrorSpec
from common.validation import validate
from tests.support.mirrors import a_mirror

if TYPE_CHECKING:
    from common.types import Json

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
HOST = "kubernetes.io/hostname"


def _nodes(*expressions: Json, **fields: Any) -> Json:
    return {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": [{"matchExpressions": list(expressions), **fields}]}}}


def _pods(**term: Any) -> Json:
    return {"podAntiAffinity": {REQUIRED: [{"topologyKey": HOST, **term}]}}


def _errors(**cache: Any) -> list[str]:
    return [str(error) for error in validate(a_mirror().placing_caches(**cache).raw())]


@pytest.mark.parametrize(
    ("affinity", "sentence"),
    [
        (_nodes({"key": "a", "operator": "In"}), "must have at least one of values with operator In"),
        (_nodes({"key": "a", "operator": "NotIn", "values": []}), "must have at least one of values"),
        (_nodes({"key": "a", "operator": "Exists", "values": ["b"]}), "must have no values with operator Exists"),
        (_nodes({"key": "a", "operator": "Gt", "values": ["1", "2"]}), "must have exactly one integer in values"),
        (_nodes({"key": "a", "operator": "Lt", "values": ["x"]}), "must have exactly one integer in values"),
        (_nodes({"key": "a", "operator": "Is"}), "must be one of"),
        (_nodes({"key": "a b", "operator": "Exists"}), "must be a key of letters"),
        (_nodes({"operator": "Exists"}), "matchExpressions[0].key: Required value"),
        (_nodes(matchFields=[{"key": "metadata.uid", "operator": "In", "values": ["x"]}]), "'metadata.name'"),
        (_nodes(matchFields=[{"key": "metadata.name", "operator": "In", "values": ["a", "b"]}]), "exactly one node"),
        (_nodes(matchFields=[{"key": "metadata.name", "operator": "In", "values": ["A B"]}]), "the name of a node"),
        ({"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": []}}}, "must have at least one term"),
        ({"nodeAffinity": {PREFERRED: [{"weight": 101, "preference": {}}]}}, "must be an integer from 1 to 100"),
        ({"nodeAffinity": {PREFERRED: [{"weight": 1}]}}, "preference: Required value"),
        ({"podAffinity": {REQUIRED: [{"labelSelector": {}}]}}, "topologyKey: Required value"),
        (_pods(topologyKey="a b"), "must be a key of letters"),
        (_pods(namespaces=["A"]), "the name of a namespace"),
        (_pods(labelSelector={"matchLabels": {"a": "b c"}}), "must be a label value"),
        (
            _pods(labelSelector={"matchExpressions": [{"key": "a", "operator": "In"}]}),
            "must have at least one of values",
        ),
        (
            _pods(labelSelector={"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["1"]}]}),
            "must be one of",
        ),
        (_pods(matchLabelKeys=["a"]), "must have a labelSelector"),
        (
            _pods(labelSelector={"matchLabels": {"a": "b"}}, matchLabelKeys=["a"]),
            "both labelSelector and matchLabelKeys",
        ),
        (_pods(labelSelector={}, matchLabelKeys=["a"], mismatchLabelKeys=["a"]), "both matchLabelKeys and mismatch"),
    ],
)
def test_wrong_affinity_is_one_error(affinity: Json, sentence: str) -> None:
    (error,) = _errors(affinity=affinity)
    assert error.startswith("spec.cache.affinity.")
    assert sentence in error


@pytest.mark.parametrize(
    "affinity",
    [
        {},
        {"nodeAffinity": {}, "podAffinity": None},
        _nodes(),
        _nodes({"key": "cpu", "operator": "Gt", "values": ["4"]}, {"key": "zone", "operator": "In", "values": [""]}),
        _nodes(matchFields=[{"key": "metadata.name", "operator": "NotIn", "values": ["node-1.example"]}]),
        _pods(labelSelector={"matchLabels": {"a": "b"}}, matchLabelKeys=["c"], mismatchLabelKeys=["a"]),
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
        resources={"requests": {"memory": "512m"}, "limits": {"memory": 64}},
    )
    assert [each.partition(": ")[::2] for each in found] == [
        ("spec.cache.resources.requests.memory", f"512m {TINY}"),
        ("spec.cache.resources.limits.memory", f"64 {TINY}"),
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


TINY = "is too small for any program (no suffix: bytes; m: thousandths); write a suffix, as in 64Mi"
