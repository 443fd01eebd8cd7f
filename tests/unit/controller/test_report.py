"""The status of a mirror is a pure function of what was found, and is written only where it differs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.field_errors import INVALID, FieldError
from common.status import RegistryMirrorStatus
from controller.model.inputs import MissingInput
from controller.model.observation import Observation
from controller.model.results import ApplyResult, ResizePlan, StorageResult
from controller.status.status import status_of, status_of_invalid, status_patch
from tests.support.controller import LATER, NOW, a_daemon_set, a_stateful_set, inputs, judged, merged, stored

if TYPE_CHECKING:
    from common.types import Json

SERVICE = {"spec": {"clusterIP": "10.0.0.7", "clusterIPs": ["10.0.0.7", "fd00::7"]}}


def _findings(ready: int = 2, nodes: int = 3) -> Observation:
    return Observation(
        inputs(),
        applied=ApplyResult(),
        storage=StorageResult(ResizePlan("20Gi", granted="20Gi")),
        service=SERVICE,
        stateful_set=a_stateful_set(ready=ready),
        daemon_set=a_daemon_set(3, nodes),
    )


def _status(observation: Observation, raw: Json | None = None, now: str = NOW) -> Json:
    return status_of(raw or stored(generation=7), judged(), observation, "mirrors", now)


def test_the_status_of_a_mirror_that_works() -> None:
    status = _status(_findings())
    assert {key: value for key, value in status.items() if key != "conditions"} == {
        "observedGeneration": 7,
        "upstream": "https://quay.io",
        "masqueradeUrl": "mirror-quay.io",
        "clusterIPs": ["10.0.0.7", "fd00::7"],
        "storage": "20Gi",
        "replicas": 2,
        "readyReplicas": 2,
        "nodes": {"desired": 3, "ready": 3},
    }
    assert [(entry["type"], entry["status"]) for entry in status["conditions"]] == [
        ("Ready", "True"),
        ("Accepted", "True"),
        ("CacheAvailable", "True"),
        ("UpstreamReachable", "Unknown"),
        ("CredentialsAvailable", "True"),
        ("NodesConfigured", "True"),
        ("StorageResized", "True"),
    ]
    assert {entry["observedGeneration"] for entry in status["conditions"]} == {7}
    RegistryMirrorStatus.model_validate(status)


@pytest.mark.parametrize(
    "observation", [_findings(0), _findings(2, 0), Observation(inputs()), Observation(inputs(holder="x"))]
)
def test_ready_is_false_where_any_other_is_and_repeats_its_reason(observation: Observation) -> None:
    ready, *others = _status(observation)["conditions"]
    first = next(entry for entry in others if entry["status"] == "False")
    assert (ready["status"], ready["reason"]) == ("False", first["reason"])
    assert ready["message"] == f"{first['type']}: {first['message']}"


def test_lacking_something_what_was_refused_of_the_rest_is_told_as_well() -> None:
    status = _status(Observation(MissingInput("CABundleMissing", "Create it."), refused="Service x: a quota"))
    told = next(entry["message"] for entry in status["conditions"] if entry["type"] == "CacheAvailable")
    assert told == "Create it. And the API server refused: Service x: a quota"


def test_lacking_what_a_cache_is_made_from_only_that_is_told() -> None:
    status = _status(Observation(MissingInput("CAPending", "is being made.")))
    assert [entry["reason"] for entry in status["conditions"]] == ["CAPending", "Valid", "CAPending"]


def test_storage_that_was_not_looked_at_stays_as_it_was_last_known() -> None:
    """Admission measures by it whether a claim shrinks."""
    raw = {**stored(), "status": _status(_findings())}
    for observation in (
        Observation(MissingInput("CABundleMissing", "create it")),
        Observation(inputs(), refused="quota"),
    ):
        assert _status(observation, raw)["storage"] == "20Gi"
    assert "storage" not in _status(Observation(inputs(), storage=StorageResult(ResizePlan("20Gi"))), raw)


def test_a_mirror_that_is_invalid_keeps_its_last_known_facts_and_says_what_is_wrong() -> None:
    raw = {**stored(generation=8), "status": _status(_findings())}
    status = status_of_invalid(raw, [FieldError("spec.ttl", INVALID, "is no duration", "7d")], LATER)
    assert status["observedGeneration"] == 8
    assert (status["storage"], status["nodes"]) == ("20Gi", {"desired": 3, "ready": 3})
    told = [(entry["type"], entry["reason"]) for entry in status["conditions"]]
    assert told[:2] == [("Ready", "InvalidSpec"), ("Accepted", "InvalidSpec")]
    before = {entry["type"]: entry for entry in raw["status"]["conditions"]}
    assert all(entry == before[entry["type"]] for entry in status["conditions"][2:]), "the others stay as they were"
    assert status["conditions"][0]["lastTransitionTime"] == LATER


def test_a_second_look_at_the_same_is_the_same_status() -> None:
    raw = stored(generation=7)
    first = _status(_findings(), raw)
    again = _status(_findings(), {**raw, "status": first}, LATER)
    assert again == first
    assert status_patch(first, again) is None


@pytest.mark.parametrize("status", [None, 5, "text", {"conditions": 5}, {"conditions": [5]}, {"nodes": "text"}])
def test_whatever_stands_in_status_already_a_status_is_found(status: Any) -> None:
    """It may have been written before there was a schema."""
    raw = {**stored(), "status": status}
    assert _status(_findings(), raw) == _status(_findings(), stored())
    assert status_of_invalid(raw, [], NOW)["conditions"]


def test_a_mirror_from_before_generations_were_counted_gets_its_status() -> None:
    raw = stored()
    del raw["metadata"]["generation"]
    assert _status(_findings(), raw)["observedGeneration"] == 0


_VALUES = st.recursive(
    st.booleans() | st.integers(0, 2) | st.text("xy", max_size=1),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)
_STATUSES = st.dictionaries(st.sampled_from("abcd"), _VALUES, max_size=4)


@given(_STATUSES, _STATUSES)
def test_the_patch_turns_one_status_into_the_other_exactly(before: Json, after: Json) -> None:
    patch = status_patch(before, after)
    assert merged(before, patch or {}) == after
    assert (patch is None) == (before == after)


def test_the_patch_says_no_more_than_what_changed() -> None:
    before = {"a": 1, "nodes": {"desired": 3, "ready": 2}, "gone": 1}
    after = {"a": 1, "nodes": {"desired": 3, "ready": 3}, "new": []}
    assert status_patch(before, after) == {"gone": None, "nodes": {"ready": 3}, "new": []}


def test_a_cache_that_serves_stays_available_while_its_statefulset_is_made_again() -> None:
    """Its pods stay; the new StatefulSet's empty status says nothing of them."""
    before = _status(_findings())
    again = {**a_stateful_set(ready=0), "status": {}}
    for stateful_set in (again, None):
        after = _status(replace(_findings(), stateful_set=stateful_set), {**stored(generation=7), "status": before})
        assert after["readyReplicas"] == before["readyReplicas"]
        kept = [entry for entry in after["conditions"] if entry["type"] == "CacheAvailable"]
        assert [(entry["status"], entry["reason"]) for entry in kept] == [("True", "AllReplicasReady")]
