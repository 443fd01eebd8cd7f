"""Check that defaulting fills missing fields and keeps all others."""

from __future__ import annotations

import copy
from itertools import product
from typing import Any

import pytest
from hypothesis import given

from common.defaults import MAX_DEPTH, is_too_deep, with_defaults, without_nulls
from common.validation import validate
from tests.support import strategies
from tests.support.mirrors import CLAIM, MirrorBuilder, a_mirror

STORAGE = f"{CLAIM}.resources.requests.storage"


def _leaves(node: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Return all fields that are set. Nulls, empty objects and an empty accessModes count as unset."""
    if isinstance(node, dict):
        return {k: v for key, value in node.items() for k, v in _leaves(value, (*path, key)).items()}
    return {} if node is None or (path[-1:] == ("accessModes",) and node == []) else {path: without_nulls(node)}


def test_smallest_mirror_is_completed() -> None:
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
def test_defaulting_is_idempotent(mirror: MirrorBuilder) -> None:
    once = with_defaults(mirror.raw())
    assert with_defaults(once) == once
    assert with_defaults(once, once) == once


@given(strategies.mirrors(), strategies.mirrors())
def test_set_fields_are_kept(mirror: MirrorBuilder, old: MirrorBuilder) -> None:
    """Unknown fields are kept too."""
    assert _leaves(mirror.raw()).items() <= _leaves(with_defaults(mirror.raw(), old.raw())).items()


@given(strategies.mirrors(), strategies.mirrors())
def test_arguments_are_not_modified(mirror: MirrorBuilder, old: MirrorBuilder) -> None:
    raw, old_raw = mirror.raw(), old.raw()
    with_defaults(raw, old_raw)["spec"]["volumeClaimTemplate"]["spec"]["accessModes"].append("mine now")
    assert (raw, old_raw) == (mirror.raw(), old.raw())


@given(strategies.mirrors(), strategies.mirrors())
def test_defaulted_mirror_is_valid(mirror: MirrorBuilder, old: MirrorBuilder) -> None:
    assert validate(with_defaults(mirror.raw(), old.raw())) == []


@given(strategies.damaged_mirrors(), strategies.damaged_mirrors())
def test_stored_error_is_not_copied(mirror: Any, old: Any) -> None:
    """Defaults from the old object are always valid."""
    before = {error.path for error in validate(mirror)}
    assert {error.path for error in validate(with_defaults(mirror, old))} <= before


@given(strategies.json_values(), strategies.json_values())
def test_any_json_is_accepted(mirror: Any, old: Any) -> None:
    with_defaults(mirror, old)
    with_defaults({"metadata": mirror, "spec": old}, {"spec": mirror})


@pytest.mark.parametrize("levels", [MAX_DEPTH - 1, MAX_DEPTH, 50_000])
def test_any_depth_is_accepted(levels: int) -> None:
    deep = strategies.nested(levels)
    assert is_too_deep(deep) is (levels >= MAX_DEPTH)
    assert with_defaults(deep) is deep or not is_too_deep(deep)
    assert with_defaults(a_mirror().raw(), deep)["spec"]["replicas"] == 2


@pytest.mark.parametrize(
    ("path", "absent"),
    [
        *product(("spec.volumeClaimTemplate", CLAIM, f"{CLAIM}.resources", f"{CLAIM}.resources.requests"), (None, {})),
        *product(("spec.ttl", "spec.replicas", STORAGE, "spec.masqueradeUrl"), (None,)),
        *product((f"{CLAIM}.accessModes",), (None, [])),
    ],
)
def test_null_and_empty_value_are_defaulted(path: str, absent: Any) -> None:
    assert with_defaults(a_mirror().having(path, absent).raw()) == with_defaults(a_mirror().raw())


@pytest.mark.parametrize("path", ["spec.ttl", "spec.replicas", STORAGE, "metadata.labels.app"])
@pytest.mark.parametrize("value", [0, "", False, [], {}])
def test_invalid_value_is_kept(path: str, value: Any) -> None:
    wrong = a_mirror().having(path, value)
    assert _leaves(wrong.raw()).items() <= _leaves(with_defaults(wrong.raw())).items()


def test_user_labels_are_kept() -> None:
    """Validation refuses a wrong `mirror` label; users may set `app`."""
    labels = {"app": "mine", "team": "a", "mirror": "other"}
    assert with_defaults(a_mirror().labelled(labels).raw())["metadata"]["labels"] == labels


@pytest.mark.parametrize("name", ["", "A.b", None, 5, "x" * 64])
def test_invalid_name_gets_no_labels(name: Any) -> None:
    assert "labels" not in with_defaults(a_mirror().having("metadata.name", name).raw())["metadata"]


def test_update_keeps_stored_claim_fields() -> None:
    old = a_mirror().storing("50Gi").accessed("ReadWriteMany")
    kept = with_defaults(a_mirror().raw(), old.raw())["spec"]["volumeClaimTemplate"]["spec"]
    assert kept == {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "50Gi"}}}
    grown = with_defaults(a_mirror().storing("60Gi").raw(), old.raw())["spec"]["volumeClaimTemplate"]["spec"]
    assert grown == {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "60Gi"}}}


@pytest.mark.parametrize("modes", ["ReadWriteMany", ["RWX"], [5], [[]], [{}], {}, []])
@pytest.mark.parametrize("storage", ["junk", 0, 20, -1, True, [], None])
def test_invalid_stored_claim_is_not_kept(modes: Any, storage: Any) -> None:
    old = a_mirror().having(f"{CLAIM}.accessModes", modes).having(STORAGE, storage)
    assert with_defaults(a_mirror().raw(), old.raw()) == with_defaults(a_mirror().raw())


def test_nulls_are_removed_at_every_depth() -> None:
    node = {"a": None, "b": [{"c": None, "d": 1}, None], "e": {"f": {"g": None}}}
    before = copy.deepcopy(node)
    assert without_nulls(node) == {"b": [{"d": 1}, None], "e": {"f": {}}}
    assert node == before
