"""Test that keys are removed with the spec, and that keys of other writers stay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from controller.desired import desired_objects
from controller.objects import merge_patch, user_metadata
from controller.objects.resources import DAEMON_SET, SERVICE, STATEFUL_SET, Kind
from tests.support.controller import inputs, merged, parsed, settings
from tests.support.mirrors import MirrorBuilder, a_mirror

if TYPE_CHECKING:
    from common.types import Json

KINDS = (SERVICE, STATEFUL_SET, DAEMON_SET)


def _object(kind: Kind, builder: MirrorBuilder) -> Json:
    objects = desired_objects(parsed(builder), settings(), inputs())
    return next(body for each, body in objects if each is kind)


def _metadata(kind: Kind, obj: Json) -> Json:
    """Return the metadata that has the user's keys."""
    found: Json = obj["metadata"] if kind is SERVICE else obj["spec"]["template"]["metadata"]
    return found


def _with(**keys: Any) -> MirrorBuilder:
    return a_mirror().placing_caches(**keys).placing_agents(**keys)


def _repaired(kind: Kind, current: Json, desired: Json) -> Json:
    wanted = user_metadata.without_former_keys(kind, current, desired)
    repaired: Json = merged(current, merge_patch.merge_patch(current, wanted))
    assert merge_patch.merge_patch(repaired, user_metadata.without_former_keys(kind, repaired, desired)) == {}
    return repaired


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_removed_keys_vanish_and_others_stay(kind: Kind) -> None:
    before = _object(kind, _with(labels={"team": "a", "tier": ""}, annotations={"note": "x"}))
    current = merged({}, before)
    _metadata(kind, current)["annotations"]["kubectl.kubernetes.io/restartedAt"] = "now"
    _metadata(kind, current)["labels"]["theirs"] = "x"
    after = _metadata(kind, _repaired(kind, current, _object(kind, _with(labels={"tier": "b"}))))
    assert after["labels"]["tier"] == "b"
    assert after["labels"]["theirs"] == "x"
    assert "team" not in after["labels"]
    assert "note" not in after["annotations"]
    assert after["annotations"]["kubectl.kubernetes.io/restartedAt"] == "now"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("text", ["no json", "[]", "5", '{"labels": 5}', '{"labels": [5, {}], "annotations": null}'])
def test_record_of_other_program_is_replaced(kind: Kind, text: str) -> None:
    desired = _object(kind, _with(labels={"team": "a"}))
    current = merged({}, desired)
    current["metadata"]["annotations"] = {user_metadata.ANNOTATION: text}
    repaired = _repaired(kind, current, desired)
    assert repaired["metadata"]["annotations"][user_metadata.ANNOTATION] == user_metadata.record(["team"], [])


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_recorded_own_label_stays(kind: Kind) -> None:
    desired = _object(kind, a_mirror())
    current = merged({}, desired)
    current["metadata"]["annotations"] = {user_metadata.ANNOTATION: user_metadata.record(["app", "mirror"], [])}
    assert _metadata(kind, _repaired(kind, current, desired))["labels"]["mirror"] == "docker"


def test_desired_object_is_unchanged() -> None:
    desired = _object(STATEFUL_SET, a_mirror())
    before = repr(desired)
    current = merged({}, _object(STATEFUL_SET, _with(labels={"team": "a"})))
    user_metadata.without_former_keys(STATEFUL_SET, current, desired)
    assert repr(desired) == before
