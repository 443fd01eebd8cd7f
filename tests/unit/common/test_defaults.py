"""Defaults fill what is missing, once, and touch nothing that is set."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given

from common.defaults import MAX_DEPTH, is_too_deep, with_defaults, without_nulls
from common.validation import validate
from tests.support import strategies
from tests.support.mirrors import CLAIM, MirrorBuilder, a_mirror

STORAGE = f"{CLAIM}.resources.requests.storage"


def _leaves(node: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """All that is set: nulls and empty objects are not, an empty list of access modes is not to Kubernetes."""
    if isinstance(node, dict):
        return {k: v for key, value in node.items() for k, v in _leaves(value, (*path, key)).items()}
    return {} if node is None or (path[-1:] == ("accessModes",) and node == []) else {path: without_nulls(node)}


def test_the_smallest_mirror_is_completed() -> None:
    """The whole of what is stored, as the README shows it."""
    assert with_defaults(a_mirror().raw()) == {
        "apiVersion": "k8s.osp.tech/v1",
        "kind": "RegistryMirror",
        "metadata": {"name": "docker", "labels": {"app": "docker-registry", "mirror": "docker"}},
        "spec": {
            "upstreamUrl": "quay.io",
            "replicas": 2,
            "ttl": "168h",
            "volumeClaimTemplate": {
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "20Gi"}}}
            },
        },
    }


@given(strategies.mirrors())
def test_a_second_time_changes_nothing(mirror: MirrorBuilder) -> None:
    once = with_defaults(mirror.raw())
    assert with_defaults(once) == once
    assert with_defaults(once, once) == once


@given(strategies.mirrors(), strategies.mirrors())
def test_nothing_that_is_set_is_touched(mirror: MirrorBuilder, old: MirrorBuilder) -> None:
    """Unknown fields included; what is filled in depends on the old object, what is set does not."""
    assert _leaves(mirror.raw()).items() <= _leaves(with_defaults(mirror.raw(), old.raw())).items()


@given(strategies.mirrors(), strategies.mirrors())
def test_the_objects_given_are_left_as_they_were(mirror: MirrorBuilder, old: MirrorBuilder) -> None:
    raw, old_raw = mirror.raw(), old.raw()
    with_defaults(raw, old_raw)["spec"]["volumeClaimTemplate"]["spec"]["accessModes"].append("mine now")
    assert (raw, old_raw) == (mirror.raw(), old.raw())


@given(strategies.mirrors(), strategies.mirrors())
def test_a_valid_mirror_stays_valid_with_its_defaults(mirror: MirrorBuilder, old: MirrorBuilder) -> None:
    assert validate(with_defaults(mirror.raw(), old.raw())) == []


@given(strategies.damaged_mirrors(), strategies.damaged_mirrors())
def test_a_stored_mistake_does_not_come_back_by_itself(mirror: Any, old: Any) -> None:
    """What is filled in from the old object is never what validation then complains about."""
    before = {problem.path for problem in validate(mirror)}
    assert {problem.path for problem in validate(with_defaults(mirror, old))} <= before


@given(strategies.json_values(), strategies.json_values())
def test_any_json_is_survived(mirror: Any, old: Any) -> None:
    with_defaults(mirror, old)
    with_defaults({"metadata": mirror, "spec": old}, {"spec": mirror})


@pytest.mark.parametrize("levels", [MAX_DEPTH - 1, MAX_DEPTH, 50_000])
def test_any_depth_is_survived(levels: int) -> None:
    deep = strategies.nested(levels)
    assert is_too_deep(deep) is (levels >= MAX_DEPTH)
    assert with_defaults(deep) is deep or not is_too_deep(deep)
    assert with_defaults(a_mirror().raw(), deep)["spec"]["replicas"] == 2


@pytest.mark.parametrize("absent", [None, {}])
@pytest.mark.parametrize(
    "path", ["spec.volumeClaimTemplate", CLAIM, f"{CLAIM}.resources", f"{CLAIM}.resources.requests"]
)
def test_an_explicit_null_and_an_empty_object_mean_left_out(path: str, absent: Any) -> None:
    assert with_defaults(a_mirror().having(path, absent).raw()) == with_defaults(a_mirror().raw())


@pytest.mark.parametrize("path", ["spec.ttl", "spec.replicas", STORAGE, f"{CLAIM}.accessModes", "spec.masqueradeUrl"])
def test_an_explicit_null_of_a_field_means_left_out(path: str) -> None:
    assert with_defaults(a_mirror().having(path, None).raw()) == with_defaults(a_mirror().raw())


def test_an_empty_list_of_access_modes_means_left_out_as_it_does_to_kubernetes() -> None:
    assert with_defaults(a_mirror().accessed().raw()) == with_defaults(a_mirror().raw())


@pytest.mark.parametrize("path", ["spec.ttl", "spec.replicas", STORAGE, "metadata.labels.app"])
@pytest.mark.parametrize("value", [0, "", False, [], {}])
def test_a_wrong_value_is_left_for_validation_to_name(path: str, value: Any) -> None:
    wrong = a_mirror().having(path, value)
    assert _leaves(wrong.raw()).items() <= _leaves(with_defaults(wrong.raw())).items()


def test_labels_of_the_user_are_left_alone_and_a_wrong_mirror_too() -> None:
    """`app` is the user's to choose; a different `mirror` is refused by validation, not mended."""
    labels = {"app": "mine", "team": "a", "mirror": "other"}
    assert with_defaults(a_mirror().labelled(labels).raw())["metadata"]["labels"] == labels


@pytest.mark.parametrize("name", ["", "A.b", None, 5, "x" * 64])
def test_a_mirror_without_a_valid_name_gets_no_labels(name: Any) -> None:
    assert "labels" not in with_defaults(a_mirror().having("metadata.name", name).raw())["metadata"]


def test_an_update_keeps_what_the_old_claim_had_part_by_part() -> None:
    old = a_mirror().storing("50Gi").accessed("ReadWriteMany")
    kept = with_defaults(a_mirror().raw(), old.raw())["spec"]["volumeClaimTemplate"]["spec"]
    assert kept == {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "50Gi"}}}
    grown = with_defaults(a_mirror().storing("60Gi").raw(), old.raw())["spec"]["volumeClaimTemplate"]["spec"]
    assert grown == {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "60Gi"}}}


@pytest.mark.parametrize("modes", ["ReadWriteMany", ["RWX"], [5], [[]], [{}], {}, []])
@pytest.mark.parametrize("storage", ["junk", 0, -1, True, [], None])
def test_an_old_claim_that_is_not_readable_is_not_kept(modes: Any, storage: Any) -> None:
    old = a_mirror().having(f"{CLAIM}.accessModes", modes).having(STORAGE, storage)
    assert with_defaults(a_mirror().raw(), old.raw()) == with_defaults(a_mirror().raw())


def test_nulls_go_at_every_depth_and_items_of_lists_stay() -> None:
    node = {"a": None, "b": [{"c": None, "d": 1}, None], "e": {"f": {"g": None}}}
    before = copy.deepcopy(node)
    assert without_nulls(node) == {"b": [{"d": 1}, None], "e": {"f": {}}}
    assert node == before
