"""List wrong and unusual placements of cache pods, each with the words of its error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from common.types import Json

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
HOST = "kubernetes.io/hostname"


def nodes(*expressions: Json, **fields: Any) -> Json:
    """Return an affinity to nodes with one term."""
    return {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": [{"matchExpressions": list(expressions), **fields}]}}}


def pods(**term: Any) -> Json:
    """Return an anti-affinity with one term."""
    return {"podAntiAffinity": {REQUIRED: [{"topologyKey": HOST, **term}]}}


WRONG_AFFINITIES: list[tuple[Json, str]] = [
    (nodes({"key": "a", "operator": "In"}), "must have at least one of values with operator In"),
    (nodes({"key": "a", "operator": "NotIn", "values": []}), "must have at least one of values"),
    (nodes({"key": "a", "operator": "Exists", "values": ["b"]}), "must have no values with operator Exists"),
    (nodes({"key": "a", "operator": "Gt", "values": ["1", "2"]}), "must have exactly one integer in values"),
    (nodes({"key": "a", "operator": "Lt", "values": ["x"]}), "must have exactly one integer in values"),
    (nodes({"key": "a", "operator": "Is"}), "must be one of"),
    (nodes({"key": "a b", "operator": "Exists"}), "must be a key of letters"),
    (nodes({"operator": "Exists"}), "matchExpressions[0].key: Required value"),
    (nodes(matchFields=[{"key": "metadata.uid", "operator": "In", "values": ["x"]}]), "'metadata.name'"),
    (nodes(matchFields=[{"key": "metadata.name", "operator": "In", "values": ["a", "b"]}]), "exactly one node"),
    (nodes(matchFields=[{"key": "metadata.name", "operator": "In", "values": ["A B"]}]), "the name of a node"),
    ({"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": []}}}, "must have at least one term"),
    ({"nodeAffinity": {PREFERRED: [{"weight": 101, "preference": {}}]}}, "must be an integer from 1 to 100"),
    ({"nodeAffinity": {PREFERRED: [{"weight": 1}]}}, "preference: Required value"),
    ({"podAffinity": {REQUIRED: [{"labelSelector": {}}]}}, "topologyKey: Required value"),
    (pods(topologyKey="a b"), "must be a key of letters"),
    (pods(namespaces=["A"]), "the name of a namespace"),
    (pods(labelSelector={"matchLabels": {"a": "b c"}}), "must be a label value"),
    (
        pods(labelSelector={"matchExpressions": [{"key": "a", "operator": "In"}]}),
        "must have at least one of values",
    ),
    (
        pods(labelSelector={"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["1"]}]}),
        "must be one of",
    ),
    (pods(matchLabelKeys=["a"]), "must have a labelSelector"),
    (
        pods(labelSelector={"matchLabels": {"a": "b"}}, matchLabelKeys=["a"]),
        "both labelSelector and matchLabelKeys",
    ),
    (pods(labelSelector={}, matchLabelKeys=["a"], mismatchLabelKeys=["a"]), "both matchLabelKeys and mismatch"),
]

WRONG_TOLERATIONS: list[tuple[Json, str]] = [
    ({}, "must have a key, or operator: Exists"),
    ({"value": "x"}, "must have a key"),
    ({"operator": "Equal"}, "must have a key"),
    ({"key": "a b", "operator": "Exists"}, "must be a key of letters"),
    ({"key": "a", "value": "b c"}, "must be a label value"),
    ({"key": "a", "operator": "Exists", "value": "x"}, "must have no value with operator: Exists"),
    ({"key": "a", "operator": "In"}, "must be one of"),
    ({"key": "a", "effect": "NoSched"}, "must be one of"),
    ({"key": "a", "tolerationSeconds": 5}, "must have effect: NoExecute with tolerationSeconds"),
    ({"key": "a", "effect": "NoSchedule", "tolerationSeconds": 5}, "must have effect: NoExecute"),
]
WRONG_RESOURCES: list[tuple[Json, str]] = [
    ({"requests": {"memory": "2Gi"}, "limits": {"memory": "1Gi"}}, "must not request more memory than its limit"),
    ({"requests": {"cpu": "1.1"}, "limits": {"cpu": "1000m"}}, "must not request more cpu"),
    ({"limits": {"memory": "1 Gi"}}, "is not a quantity"),
    ({"limits": {"memory": "1Gb"}}, "is not a quantity"),
    ({"limits": {"cpu": "-1"}}, "must not be negative"),
    ({"requests": {"storage": "1Gi"}}, "can be set; remove this one"),
    ({"requests": {"CPU": "1"}}, "can be set; remove this one"),
]
