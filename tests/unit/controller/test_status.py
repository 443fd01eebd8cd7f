"""Test the status of a mirror, and the patch to it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.field_errors import INVALID, FieldError
from common.status import RegistryMirrorStatus
from controller.model.inputs import Credentials, CredentialsState, MissingInput
from controller.model.observation import Agent, Observation, Verdict
from controller.model.results import ApplyResult, ResizePlan, StorageResult
from controller.status import events, reasons
from controller.status.failures import STUCK_AFTER
from controller.status.status import status_of, status_of_invalid, status_patch
from tests.support.controller import LATER, NOW, a_daemon_set, a_stateful_set, inputs, merged, parsed, stored
from tests.support.mirrors import a_mirror

if TYPE_CHECKING:
    from common.types import Json

SERVICE = {"spec": {"clusterIP": "10.0.0.7", "clusterIPs": ["10.0.0.7", "fd00::7"]}}


def _observation(ready: int = 2, nodes: int = 3) -> Observation:
    return Observation(
        inputs(),
        applied=ApplyResult(),
        storage=StorageResult(ResizePlan("20Gi", granted="20Gi")),
        service=SERVICE,
        stateful_set=a_stateful_set(ready=ready),
        daemon_set=a_daemon_set(3, nodes),
    )


def _status(observation: Observation, obj: Json | None = None, now: str = NOW) -> Json:
    return status_of(obj or stored(generation=7), parsed(), observation, "mirrors", now)


def test_pulling_nodes_are_counted() -> None:
    """The last number stays until the cache pods were asked, and goes if addresses do not tell the nodes."""
    asked = replace(_observation(), verdicts=(Verdict(reasons.REACHABLE, "It answers."),))
    status = _status(replace(asked, pulling=2))
    assert status["nodes"] == {"desired": 3, "ready": 3, "pulling": 2}
    obj = {**stored(generation=7), "status": status}
    assert _status(_observation(), obj)["nodes"]["pulling"] == 2
    after = _status(asked, obj)
    assert "pulling" not in after["nodes"]
    assert (status_patch(status, after) or {})["nodes"] == {"pulling": None}
    assert _status(replace(asked, pulling=0))["nodes"]["pulling"] == 0


def test_status_of_working_mirror() -> None:
    status = _status(_observation())
    assert {key: value for key, value in status.items() if key != "conditions"} == {
        "observedGeneration": 7,
        "upstream": "https://quay.io",
        "masqueradeUrl": "mirror-quay.io",
        "clusterIPs": ["10.0.0.7", "fd00::7"],
        "storage": "20Gi",
        "replicas": 2,
        "readyReplicas": 2,
        "nodes": {"desired": 3, "ready": 3},
        "summary": {"cache": "2/2", "nodes": "3/3"},
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


def test_nodes_without_room_count_apart() -> None:
    left = Agent("fargate", scheduled=False, unschedulable="no room")
    status = _status(replace(_observation(nodes=2), unschedulable=(left,)))
    assert status["nodes"] == {"desired": 2, "ready": 2, "unschedulable": 1}
    RegistryMirrorStatus.model_validate(status)
    patch = status_patch(status, _status(_observation())) or {}
    assert patch["nodes"] == {"desired": 3, "ready": 3, "unschedulable": None}


@pytest.mark.parametrize(
    "observation", [_observation(0), _observation(2, 0), Observation(inputs()), Observation(inputs(holder="x"))]
)
def test_ready_repeats_first_false_condition(observation: Observation) -> None:
    ready, *others = _status(observation)["conditions"]
    first = next(entry for entry in others if entry["status"] == "False")
    assert (ready["status"], ready["reason"]) == ("False", first["reason"])
    assert ready["message"] == f"{first['type']}: {first['message']}"


def test_refusal_leaves_serving_caches_available() -> None:
    """The nodes pull through them. Ready is False, because the mirror does not match its spec."""
    obj = {**stored(), "status": _status(_observation())}
    refused = _status(replace(_observation(), refused="Service x: a quota"), obj)
    found = {entry["type"]: (entry["status"], entry["reason"]) for entry in refused["conditions"]}
    assert found["CacheAvailable"] == ("True", "AllReplicasReady")
    assert found["Reconciled"] == found["Ready"] == ("False", "ApplyFailed")
    (event,) = events.transitions(obj, refused)
    assert (event.kind, event.note) == ("Warning", "The API server refused: Service x: a quota")
    again = {entry["type"]: entry for entry in _status(_observation(), {**obj, "status": refused})["conditions"]}
    assert again["Reconciled"]["status"] == again["Ready"]["status"] == "True"


def test_refusal_is_reported_beside_other_faults() -> None:
    deleting = ApplyResult(deleting={"Secret a": ("12:00", [], STUCK_AFTER)})
    for observation in (
        Observation(MissingInput("CABundleMissing", "Create it."), refused="Service x: a quota"),
        replace(_observation(), applied=deleting, refused="Service x: a quota"),
    ):
        entry = next(each for each in _status(observation)["conditions"] if each["type"] == "Reconciled")
        assert entry["status"] == "False"
        assert "The API server refused: Service x: a quota" in entry["message"]


def test_added_upstream_leaves_mirror_ready() -> None:
    """Nodes pull images of the other upstreams through the mirror, so no alert fires and no Event is posted."""
    builder = a_mirror().also_of("ghcr.io")
    answers, absent = Verdict(reasons.REACHABLE, "Yes."), Verdict(reasons.NOT_ASKED, "No.", is_switching=True)
    inputs_of_both = inputs(credentials=(Credentials(CredentialsState.NOT_REQUIRED),) * 2)
    observation = replace(_observation(), inputs=inputs_of_both, verdicts=(answers, absent))
    obj = {**stored(builder), "status": _status(_observation())}
    added = status_of(obj, parsed(builder), observation, "mirrors", LATER)
    found = {entry["type"]: (entry["status"], entry["reason"]) for entry in added["conditions"]}
    assert found["CacheAvailable"] == found["Ready"] == ("True", "SwitchingUpstream")
    assert events.transitions(obj, added) == []
    first = status_of(obj, parsed(builder), replace(observation, verdicts=(absent, answers)), "mirrors", LATER)
    found = {entry["type"]: (entry["status"], entry["reason"]) for entry in first["conditions"]}
    assert found["CacheAvailable"] == found["Ready"] == ("False", "SwitchingUpstream")


def test_missing_input_hides_other_conditions() -> None:
    status = _status(Observation(MissingInput("CAPending", "is being made.")))
    assert [entry["reason"] for entry in status["conditions"]] == ["CAPending", "Valid", "CAPending"]


def test_storage_keeps_last_value_without_result() -> None:
    """Admission compares a shrinking claim with it."""
    obj = {**stored(), "status": _status(_observation())}
    for observation in (
        Observation(MissingInput("CABundleMissing", "create it")),
        Observation(inputs(), refused="quota"),
    ):
        assert _status(observation, obj)["storage"] == "20Gi"
    assert "storage" not in _status(Observation(inputs(), storage=StorageResult(ResizePlan("20Gi"))), obj)


def test_invalid_mirror_keeps_last_values() -> None:
    obj = {**stored(generation=8), "status": _status(_observation())}
    status = status_of_invalid(obj, [FieldError("spec.ttl", INVALID, "is no duration", "7d")], LATER)
    assert status["observedGeneration"] == 8
    assert (status["storage"], status["nodes"]) == ("20Gi", {"desired": 3, "ready": 3})
    reasons = [(entry["type"], entry["reason"]) for entry in status["conditions"]]
    assert reasons[:2] == [("Ready", "InvalidSpec"), ("Accepted", "InvalidSpec")]
    assert ("Stalled", "InvalidSpec") in reasons
    corrected = _status(_observation(), {**obj, "status": status})
    assert all(entry["type"] != "Stalled" for entry in corrected["conditions"]), "it exists only while it is True"
    before = {entry["type"]: entry for entry in obj["status"]["conditions"]}
    assert all(entry == before[entry["type"]] for entry in status["conditions"][2:] if entry["type"] != "Stalled")
    assert status["conditions"][0]["lastTransitionTime"] == LATER


def test_same_observation_gives_same_status() -> None:
    obj = stored(generation=7)
    first = _status(_observation(), obj)
    again = _status(_observation(), {**obj, "status": first}, LATER)
    assert again == first
    assert status_patch(first, again) is None


@pytest.mark.parametrize("status", [None, 5, "text", {"conditions": 5}, {"conditions": [5]}, {"nodes": "text"}])
def test_malformed_status_is_replaced(status: Any) -> None:
    """The stored status may be older than the schema."""
    obj = {**stored(), "status": status}
    assert _status(_observation(), obj) == _status(_observation(), stored())
    assert status_of_invalid(obj, [], NOW)["conditions"]


def test_mirror_without_generation_gets_status() -> None:
    obj = stored()
    del obj["metadata"]["generation"]
    assert _status(_observation(), obj)["observedGeneration"] == 0


_VALUES = st.recursive(
    st.booleans() | st.integers(0, 2) | st.text("xy", max_size=1),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)
_STATUSES = st.dictionaries(st.sampled_from("abcd"), _VALUES, max_size=4)


@given(_STATUSES, _STATUSES)
def test_patch_produces_new_status(before: Json, after: Json) -> None:
    patch = status_patch(before, after)
    assert merged(before, patch or {}) == after
    assert (patch is None) == (before == after)


def test_patch_contains_only_changes() -> None:
    before = {"a": 1, "nodes": {"desired": 3, "ready": 2}, "gone": 1}
    after = {"a": 1, "nodes": {"desired": 3, "ready": 3}, "new": []}
    assert status_patch(before, after) == {"gone": None, "nodes": {"ready": 3}, "new": []}


def test_replaced_stateful_set_keeps_cache_available() -> None:
    """The pods stay, and the new StatefulSet has not counted them."""
    before = _status(_observation())
    again = {**a_stateful_set(ready=0), "status": {}}
    for stateful_set in (again, None):
        after = _status(replace(_observation(), stateful_set=stateful_set), {**stored(generation=7), "status": before})
        assert after["readyReplicas"] == before["readyReplicas"]
        kept = [entry for entry in after["conditions"] if entry["type"] == "CacheAvailable"]
        assert [(entry["status"], entry["reason"]) for entry in kept] == [("True", "AllReplicasReady")]
        assert "use the mirror" in next(
            each["message"] for each in after["conditions"] if each["type"] == "NodesConfigured"
        )


def test_dead_cache_shows_that_pulls_go_upstream() -> None:
    """The agents stay ready and withdraw hosts.toml, so the count of nodes alone would hide it."""
    before = _status(_observation())
    after = _status(_observation(ready=0), {**stored(generation=7), "status": before})
    conditions = {entry["type"]: entry for entry in after["conditions"]}
    for kind in ("CacheAvailable", "NodesConfigured", "Ready"):
        assert "Nodes pull from the upstream." in conditions[kind]["message"]
    assert conditions["NodesConfigured"]["reason"] == "NodesUseUpstream"
    (event,) = events.transitions({"status": before}, after)
    assert (event.kind, event.reason) == ("Warning", "NoReplicaReady")
    assert "Nodes pull from the upstream." in event.note
