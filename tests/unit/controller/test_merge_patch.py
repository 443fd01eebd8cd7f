"""The patch is exactly what differs: applying it once makes the object as desired, and then there is nothing to do."""

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
DESIRED = st.dictionaries(NAMES, VALUES, min_size=1, max_size=4)  # of an object something is always desired


@given(OBJECTS, DESIRED)
def test_the_patch_makes_the_object_as_desired_in_one_go(live: Json, desired: Json) -> None:
    after = merged(live, merge_patch(live, desired))
    assert contains(after, desired)
    assert merge_patch(after, desired) == {}


@given(OBJECTS, DESIRED)
def test_there_is_a_patch_exactly_where_something_differs(live: Json, desired: Json) -> None:
    assert (merge_patch(live, desired) == {}) == contains(live, desired)


@given(DESIRED)
def test_an_object_contains_itself(live: Json) -> None:
    assert contains(live, live)
    assert merge_patch(live, live) == {}


@given(OBJECTS, DESIRED)
def test_what_others_added_to_maps_stays(live: Json, desired: Json) -> None:
    """Fields at the top that are not ours, whatever we desire; deeper ones are shown by example below."""
    after = merged(live, merge_patch(live, desired))
    theirs = {key: value for key, value in live.items() if key not in desired}
    assert {key: value for key, value in after.items() if key not in desired} == merged({}, theirs) | theirs


@given(OBJECTS, DESIRED)
def test_nothing_that_is_given_in_is_changed(live: Json, desired: Json) -> None:
    before = repr((live, desired))
    merge_patch(live, desired)
    assert repr((live, desired)) == before


_PORT = {"name": "https", "port": 443}


@pytest.mark.parametrize(
    ("live", "desired", "patch"),
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
        # What is desired to be empty
        ({}, {"a": [], "b": {}, "c": "", "d": None}, {}),
        ({"a": [1], "b": {"x": 1}, "c": "x", "d": 0}, {"a": [], "b": {}, "c": "", "d": None}, dict.fromkeys("abcd")),
        ({}, {"a": {"b": {"c": ""}}}, {}),
        # Zero and false are values
        ({}, {"a": 0, "b": False}, {"a": 0, "b": False}),
        ({"a": 1, "b": True}, {"a": 0, "b": False}, {"a": 0, "b": False}),
        # Null in what is desired of an element takes out what somebody put there
        ({"c": [{"name": "x", "command": ["sh"]}]}, {"c": [{"name": "x", "command": None}]}, None),
        ({"c": [{"name": "x"}]}, {"c": [{"name": "x", "command": None}]}, {}),
    ],
)
def test_examples(live: Json, desired: Json, patch: Json | None) -> None:
    """None as the patch stands for what is desired as a whole."""
    assert merge_patch(live, desired) == (desired if patch is None else patch)


@pytest.mark.parametrize("field", ["selector", "nodeSelector", "labelSelector", "matchLabels"])
def test_a_label_added_to_a_selector_is_taken_out_as_it_finds_other_objects(field: str) -> None:
    """A Service with one more label in its selector has no pods, although all that we set is there."""
    desired = {"spec": {field: {"app": "x"}}}
    live = {"spec": {field: {"app": "x", "added": "y"}, "theirs": 1}}
    assert merge_patch(live, desired) == {"spec": {field: {"added": None}}}
    within = {"spec": {"constraints": [{field: {"app": "x"}}]}}
    added = {"spec": {"constraints": [{field: {"app": "x", "added": "y"}}]}}
    assert merge_patch(added, within) == within


def test_an_expression_added_to_a_label_selector_is_taken_out() -> None:
    desired = {"selector": {"matchLabels": {"app": "x"}}}
    live = {"selector": {"matchLabels": {"app": "x"}, "matchExpressions": [{"key": "no", "operator": "Exists"}]}}
    assert merge_patch(live, desired) == {"selector": {"matchExpressions": None}}


@pytest.mark.parametrize(
    ("value", "empty"),
    [(None, True), ("", True), ([], True), ({}, True), (0, False), (False, False), ("x", False), ([None], False)],
)
def test_empty_is_what_the_api_server_does_not_store(value: Any, empty: bool) -> None:  # noqa: FBT001 (a column)
    assert is_empty(value) is empty


def test_the_paths_of_a_patch_tell_the_fields_and_never_a_value() -> None:
    patch = {"data": {"password": "hunter2", "gone": None}, "spec": {"ports": [{"port": 1}], "empty": {}}}
    assert paths(patch) == ["data.password", "data.gone", "spec.ports", "spec.empty"]
    assert paths({}) == []
