"""Test the patch: it is exactly the difference, and applying it once leaves none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.objects.merge_patch import contains, is_empty, merge_patch, paths
from tests.support.controller import merged

if TYPE_CHECKING:
    from common.types import Json

NAMES = st.sampled_from(["a", "b", "c", "selector", "matchLabels"])
SCALARS = st.one_of(st.none(), st.just(""), st.integers(0, 2), st.text("xy", max_size=1))
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=8
)
OBJECTS = st.dictionaries(NAMES, VALUES, max_size=4)
DESIRED = st.dictionaries(NAMES, VALUES, min_size=1, max_size=4)  # never empty


@given(OBJECTS, DESIRED)
def test_patch_brings_object_to_desired_state(current: Json, desired: Json) -> None:
    after = merged(current, merge_patch(current, desired))
    assert contains(after, desired)
    assert merge_patch(after, desired) == {}


@given(OBJECTS, DESIRED)
def test_patch_is_empty_without_difference(current: Json, desired: Json) -> None:
    assert (merge_patch(current, desired) == {}) == contains(current, desired)


@given(DESIRED)
def test_object_contains_itself(current: Json) -> None:
    assert contains(current, current)
    assert merge_patch(current, current) == {}


@given(OBJECTS, DESIRED)
def test_other_top_level_fields_stay(current: Json, desired: Json) -> None:
    """Examples of deeper fields follow below."""
    after = merged(current, merge_patch(current, desired))
    others = {key: value for key, value in current.items() if key not in desired}
    assert {key: value for key, value in after.items() if key not in desired} == merged({}, others) | others


@given(OBJECTS, DESIRED)
def test_arguments_are_unchanged(current: Json, desired: Json) -> None:
    before = repr((current, desired))
    merge_patch(current, desired)
    assert repr((current, desired)) == before


_PORT = {"name": "https", "port": 443}


@pytest.mark.parametrize(
    ("current", "desired", "patch"),
    [
        # Maps
        ({"a": 1, "b": 2}, {"a": 1}, {}),
        ({"a": {"x": 1, "theirs": 2}}, {"a": {"x": 3}}, {"a": {"x": 3}}),
        ({}, {"a": {"x": 1}}, {"a": {"x": 1}}),
        ({"a": None}, {"a": {"x": 1}}, {"a": {"x": 1}}),
        ({"a": "text"}, {"a": {"x": 1}}, {"a": {"x": 1}}),
        # Lists
        ({"ports": [_PORT]}, {"ports": [_PORT]}, {}),
        ({"ports": [{**_PORT, "protocol": "TCP", "nodePort": 30443}]}, {"ports": [_PORT]}, {}),
        ({"ports": [{**_PORT, "port": 8443}]}, {"ports": [_PORT]}, {"ports": [_PORT]}),
        ({"ports": [_PORT, {"name": "more", "port": 1}]}, {"ports": [_PORT]}, {"ports": [_PORT]}),
        ({"ports": []}, {"ports": [_PORT]}, {"ports": [_PORT]}),
        ({"modes": ["b", "a"]}, {"modes": ["a", "b"]}, {"modes": ["a", "b"]}),
        # Fields desired to be empty
        ({}, {"a": [], "b": {}, "c": "", "d": None}, {}),
        ({"a": [1], "b": {"x": 1}, "c": "x", "d": 0}, {"a": [], "b": {}, "c": "", "d": None}, dict.fromkeys("abcd")),
        ({}, {"a": {"b": {"c": ""}}}, {}),
        # Zero and false are values
        ({}, {"a": 0, "b": False}, {"a": 0, "b": False}),
        ({"a": 1, "b": True}, {"a": 0, "b": False}, {"a": 0, "b": False}),
        # Null in a desired element removes the value of another writer
        ({"c": [{"name": "x", "command": ["sh"]}]}, {"c": [{"name": "x", "command": None}]}, None),
        ({"c": [{"name": "x"}]}, {"c": [{"name": "x", "command": None}]}, {}),
    ],
)
def test_examples(current: Json, desired: Json, patch: Json | None) -> None:
    """The patch None stands for the whole desired object."""
    assert merge_patch(current, desired) == (desired if patch is None else patch)


@pytest.mark.parametrize("field", ["selector", "nodeSelector", "labelSelector", "matchLabels"])
def test_label_added_to_selector_is_removed(field: str) -> None:
    """A Service with one more label in its selector has no pods."""
    desired = {"spec": {field: {"app": "x"}}}
    current = {"spec": {field: {"app": "x", "added": "y"}, "theirs": 1}}
    assert merge_patch(current, desired) == {"spec": {field: {"added": None}}}
    within = {"spec": {"constraints": [{field: {"app": "x"}}]}}
    added = {"spec": {"constraints": [{field: {"app": "x", "added": "y"}}]}}
    assert merge_patch(added, within) == within


def test_expression_added_to_selector_is_removed() -> None:
    desired = {"selector": {"matchLabels": {"app": "x"}}}
    current = {"selector": {"matchLabels": {"app": "x"}, "matchExpressions": [{"key": "no", "operator": "Exists"}]}}
    assert merge_patch(current, desired) == {"selector": {"matchExpressions": None}}


@pytest.mark.parametrize("field", ["labels", "annotations", "matchLabels", "nodeSelector"])
def test_empty_text_is_a_value_of_a_map(field: str) -> None:
    """The label node-role.kubernetes.io/infra has an empty value."""
    desired = {field: {"infra": ""}}
    assert merge_patch({}, desired) == desired
    assert merge_patch({field: {"other": "x"}}, {field: {"infra": "", "other": None}}) == {
        field: {"infra": "", "other": None}
    }
    assert merge_patch({field: {"infra": ""}}, desired) == {}


TERM = {"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "x"}}}
EXISTS = {"key": "infra", "operator": "Exists"}


@pytest.mark.parametrize(
    ("field", "desired", "current"),
    [
        ("tolerations", [EXISTS], [{**EXISTS, "tolerationSeconds": 5}]),
        ("tolerations", [EXISTS], [{**EXISTS, "effect": "NoExecute"}]),
        (
            "affinity",
            {"podAffinity": {"required": [TERM]}},
            {"podAffinity": {"required": [{**TERM, "namespaces": ["a"]}]}},
        ),
        # An empty selector selects all namespaces, an absent one only that of the pod.
        (
            "affinity",
            {"podAffinity": {"required": [{**TERM, "namespaceSelector": {}}]}},
            {"podAffinity": {"required": [TERM]}},
        ),
        (
            "affinity",
            {"podAffinity": {"required": [TERM]}},
            {"podAffinity": {"required": [{**TERM, "namespaceSelector": {}}]}},
        ),
    ],
)
def test_added_and_vanished_fields_of_elements_are_repaired(field: str, desired: Any, current: Any) -> None:
    assert merge_patch({field: current}, {field: desired}) == {field: desired}
    assert merge_patch({field: desired}, {field: desired}) == {}


def test_vanished_parts_of_affinity_are_removed() -> None:
    current = {"affinity": {"nodeAffinity": {"required": {"terms": [1]}, "preferred": [1]}, "podAffinity": {"a": [1]}}}
    desired = {"affinity": {"nodeAffinity": {"required": {"terms": [1]}}}}
    assert merge_patch(current, desired) == {"affinity": {"nodeAffinity": {"preferred": None}, "podAffinity": None}}
    assert merge_patch(current, {"affinity": None}) == {"affinity": None}


@pytest.mark.parametrize(
    ("current", "desired", "is_same"),
    [
        ({"limits": {"cpu": "1", "memory": "1Gi"}}, {"limits": {"cpu": "1000m", "memory": "1024Mi"}}, True),
        ({"requests": {"cpu": "1500m"}}, {"requests": {"cpu": "1.5"}}, True),
        ({"requests": {"cpu": "1"}}, {"requests": {"cpu": "2"}}, False),
        ({"requests": {"cpu": "1", "memory": "1Gi"}}, {"requests": {"cpu": "1"}}, False),
        ({"requests": {"cpu": "1"}, "limits": {"cpu": "1"}}, {"requests": {"cpu": "1"}}, False),
        ({"requests": {"cpu": "1"}, "claims": [{"name": "x"}]}, {"requests": {"cpu": "1"}}, False),
    ],
)
def test_amounts_are_compared_and_others_removed(current: Json, desired: Json, *, is_same: bool) -> None:
    desired = {"containers": [{"name": "cache", "resources": desired}]}
    patch = merge_patch({"containers": [{"name": "cache", "resources": current}]}, desired)
    assert patch == ({} if is_same else desired)


@pytest.mark.parametrize(
    ("value", "empty"),
    [(None, True), ("", True), ([], True), ({}, True), (0, False), (False, False), ("x", False), ([None], False)],
)
def test_empty_values_are_not_stored(value: Any, empty: bool) -> None:  # noqa: FBT001 (a column)
    assert is_empty(value) is empty


def test_paths_contain_no_values() -> None:
    patch = {"data": {"password": "hunter2", "gone": None}, "spec": {"ports": [{"port": 1}], "empty": {}}}
    assert paths(patch) == ["data.password", "data.gone", "spec.ports", "spec.empty"]
    assert paths({}) == []
