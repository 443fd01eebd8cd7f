"""Each condition, each of its reasons, and the sentence that a person reads."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from common.field_errors import INVALID, FieldError
from common.status import Condition as StoredCondition
from controller.model import condition
from controller.model.condition import Condition
from controller.model.inputs import Credentials, CredentialsState, MissingInput
from controller.model.observation import Observation, Verdict
from controller.model.results import ApplyResult, ResizePlan, StorageResult
from controller.objects import rollout
from controller.status import conditions, node_conditions, upstream_conditions
from tests.support.controller import LATER, NOW, a_claim, a_daemon_set, a_stateful_set, inputs, judged, stored
from tests.support.mirrors import a_mirror

if TYPE_CHECKING:
    from common.types import Json

MIRROR = judged(a_mirror().logging_in_with("login").known_as("local.quay.io"))
CLAIM = a_claim(0, "20Gi")["metadata"]["name"]


def _cache(**found: Any) -> Condition:
    return conditions.cache_available(stored(), MIRROR, Observation(inputs(), **found))


def _nodes(daemon_set: Json | None, holder: str | None = None) -> Condition:
    return node_conditions.nodes_configured(MIRROR, Observation(inputs(), daemon_set=daemon_set), holder)


def _credentials(state: CredentialsState) -> Condition:
    known = inputs(credentials=Credentials(state))
    return upstream_conditions.credentials_available(stored(), MIRROR, "mirrors", known, None)


def _upstream(verdict: Verdict | None = None) -> Condition:
    return upstream_conditions.upstream_reachable(stored(), MIRROR, verdict)


def _storage(
    missing: list[str] | None = None,
    granted: str | None = None,
    refused: str | None = None,
    foreign: list[str] | None = None,
) -> Condition:
    plan = ResizePlan("30Gi", missing=missing or [], foreign=foreign or [], granted=granted)
    return conditions.storage_resized(StorageResult(plan, refused))


EVERY = [
    (
        conditions.accepted([]),
        ("Accepted", "True", "Valid"),
        "The spec is valid.",
    ),
    (
        conditions.accepted(
            [
                FieldError("spec.ttl", INVALID, "is no duration", "7d"),
                FieldError("spec.replicas", INVALID, "too many", 11),
            ]
        ),
        ("Accepted", "False", "InvalidSpec"),
        (
            'spec.ttl: Invalid value: "7d": is no duration; spec.replicas: Invalid value: 11: too many.'
            " What exists is left as it is until the spec is mended."
        ),
    ),
    (
        _cache(stateful_set=a_stateful_set(ready=2)),
        ("CacheAvailable", "True", "AllReplicasReady"),
        "2 of 2 cache pods are ready.",
    ),
    (
        _cache(stateful_set=a_stateful_set(ready=1)),
        ("CacheAvailable", "True", "SomeReplicasReady"),
        "1 of 2 cache pods are ready.",
    ),
    (
        _cache(stateful_set=a_stateful_set(ready=0)),
        ("CacheAvailable", "False", "NoReplicaReady"),
        "None of 2 cache pods is ready; kubectl describe statefulset,pod -A -l mirror=docker says why.",
    ),
    (
        _cache(stateful_set=None),
        ("CacheAvailable", "False", "NoReplicaReady"),
        "None of 2 cache pods is ready; kubectl describe statefulset,pod -A -l mirror=docker says why.",
    ),
    (
        _cache(refused="exceeded quota: storage", stateful_set=a_stateful_set(ready=2)),
        ("CacheAvailable", "False", "ApplyFailed"),
        "The API server refused: exceeded quota: storage",
    ),
    (
        _cache(applied=ApplyResult(foreign={"Service b": "belongs to Deployment web", "Secret a": "has no owner"})),
        ("CacheAvailable", "False", "ObjectNotOwned"),
        (
            "Secret a has no owner; Service b belongs to Deployment web."
            " It is left alone: rename or delete it, or name the mirror otherwise."
        ),
    ),
    (
        conditions.lacking(MissingInput("CABundleMissing", "create it"))[0],
        ("CacheAvailable", "False", "CABundleMissing"),
        "create it",
    ),
    (
        _upstream(),
        ("UpstreamReachable", "Unknown", "NotProbed"),
        "https://quay.io has not answered yet.",
    ),
    (
        _credentials(CredentialsState.NOT_REQUIRED),
        ("CredentialsAvailable", "True", "NotRequired"),
        "No credentials are asked for; the upstream is used anonymously.",
    ),
    (
        _credentials(CredentialsState.FOUND),
        ("CredentialsAvailable", "True", "Found"),
        "Secret mirrors/login has username and password.",
    ),
    (
        _credentials(CredentialsState.SECRET_MISSING),
        ("CredentialsAvailable", "False", "SecretMissing"),
        "Secret mirrors/login does not exist; pulls go without credentials until it does.",
    ),
    (
        _credentials(CredentialsState.SECRET_INCOMPLETE),
        ("CredentialsAvailable", "False", "SecretIncomplete"),
        (
            "Secret mirrors/login lacks username or password, or one of them is empty or no UTF-8;"
            " pulls go without credentials until both are there."
        ),
    ),
    (
        _nodes(a_daemon_set(3, 3)),
        ("NodesConfigured", "True", "AllNodesReady"),
        "All of 3 nodes point at the mirror.",
    ),
    (
        _nodes(a_daemon_set(3, 2)),
        ("NodesConfigured", "False", "NodesPending"),
        "2 of 3 nodes point at the mirror; kubectl describe daemonset,pod -A -l mirror=docker says why.",
    ),
    (
        _nodes(a_daemon_set(3, 3, updated=1)),
        ("NodesConfigured", "False", "NodesPending"),
        "1 of 3 nodes point at the mirror; kubectl describe daemonset,pod -A -l mirror=docker says why.",
    ),
    (
        _nodes(None),
        ("NodesConfigured", "False", "NodesPending"),
        "The DaemonSet does not exist yet.",
    ),
    (
        _nodes({"metadata": {"generation": 1}}),
        ("NodesConfigured", "False", "NodesPending"),
        "The DaemonSet has just changed; Kubernetes has not counted its nodes yet.",
    ),
    (
        _nodes(a_daemon_set(3, 3, generation=2)),
        ("NodesConfigured", "False", "NodesPending"),
        "The DaemonSet has just changed; Kubernetes has not counted its nodes yet.",
    ),
    (
        _nodes(a_daemon_set(3, 3), holder="older"),
        ("NodesConfigured", "False", "MasqueradeConflict"),
        (
            "RegistryMirror older is older and has local.quay.io on the nodes; set another spec.masqueradeUrl,"
            " or delete older, and this mirror takes over."
        ),
    ),
    (
        _storage(granted="30Gi"),
        ("StorageResized", "True", "Granted"),
        "Every claim has at least 30Gi.",
    ),
    (
        _storage([CLAIM]),
        ("StorageResized", "Unknown", "ClaimsPending"),
        f"Claim {CLAIM} is not bound to a volume yet; kubectl describe pvc -A says why.",
    ),
    (
        _storage([CLAIM, "another"], granted="20Gi"),
        ("StorageResized", "False", "Resizing"),
        f"Claim {CLAIM} and 1 more are waiting to grow to 30Gi; 20Gi are granted.",
    ),
    (
        _storage([CLAIM], granted="20Gi", foreign=[CLAIM]),
        ("StorageResized", "False", "ClaimForeign"),
        (
            f"Claim {CLAIM} is somebody's own, without this mirror's labels, and not grown to 30Gi: grow it by hand, or"
            " ask for what it has. 20Gi are granted."
        ),
    ),
    (
        _storage(["another", CLAIM], foreign=[CLAIM]),
        ("StorageResized", "Unknown", "ClaimsPending"),
        (
            "Claim another is not bound to a volume yet; kubectl describe pvc -A says why. Claim"
            f" {CLAIM} is somebody's own, without this mirror's labels, and not grown to 30Gi: grow it by hand, or ask"
            " for what it has."
        ),
    ),
    (
        _storage([CLAIM], refused="30Gi cannot be granted: only dynamically provisioned pvc can be resized"),
        ("StorageResized", "False", "ResizeRefused"),
        "30Gi cannot be granted: only dynamically provisioned pvc can be resized",
    ),
    (
        conditions.ready([]),
        ("Ready", "True", "Ready"),
        "The cache serves, and every node that is to points at it.",
    ),
]


@pytest.mark.parametrize(("condition", "is_so", "message"), EVERY, ids=lambda value: str(value)[:60])
def test_each_reason_and_its_sentence(condition: Condition, is_so: tuple[str, str, str], message: str) -> None:
    assert (condition.type, condition.status, condition.reason) == is_so
    assert condition.message == message


@pytest.mark.parametrize("condition", [condition for condition, _, _ in EVERY], ids=lambda value: value.reason)
def test_each_condition_is_one_that_the_schema_takes(condition: Condition) -> None:
    (entry,) = conditions.merged([condition], [], 1, NOW)
    StoredCondition.model_validate(entry)
    assert re.fullmatch(r"[A-Z][A-Za-z]+", condition.reason)


def test_a_daemon_set_without_nodes_is_neither_configured_nor_in_the_way_once_it_was_counted() -> None:
    assert (_nodes(a_daemon_set(0, 0)).status, _nodes(a_daemon_set(0, 0)).reason) == ("Unknown", "NoNodes")


def test_ready_is_the_first_that_is_not_and_says_which() -> None:
    good, unknown = conditions.accepted([]), _upstream()
    first, second = _nodes(None), _credentials(CredentialsState.SECRET_MISSING)
    ready = conditions.ready([good, unknown, first, second])
    assert (ready.type, ready.status, ready.reason) == ("Ready", "False", "NodesPending")
    assert ready.message == "NodesConfigured: The DaemonSet does not exist yet."


def test_what_is_unknown_does_not_stand_in_the_way_of_ready() -> None:
    assert conditions.ready([_upstream(), _storage([CLAIM])]).status == "True"


def test_an_upstream_that_is_away_is_told_in_the_summary_and_does_not_undo_it() -> None:
    """It is what a mirror is there for; and nobody's deployment is to wait for somebody else's rate limit."""
    away = _upstream(Verdict("RateLimited", "https://quay.io answers 429."))
    found = conditions.ready([conditions.accepted([]), away])
    assert (found.status, found.reason) == ("True", "RateLimited")
    assert found.message == "The cache serves; UpstreamReachable: https://quay.io answers 429."
    worse = _credentials(CredentialsState.SECRET_MISSING)
    assert conditions.ready([away, worse]).reason == "SecretMissing"


def test_a_transition_time_moves_with_the_status_and_with_nothing_else() -> None:
    first = conditions.merged([_nodes(None)], [], 1, NOW)
    assert first[0]["lastTransitionTime"] == NOW
    same = conditions.merged([_nodes(a_daemon_set(3, 1))], first, 2, LATER)
    assert (same[0]["lastTransitionTime"], same[0]["observedGeneration"]) == (NOW, 2)
    assert same[0]["message"] != first[0]["message"]
    turned = conditions.merged([_nodes(a_daemon_set(3, 3))], same, 2, LATER)
    assert turned[0]["lastTransitionTime"] == LATER


def test_conditions_are_those_of_this_pass_in_its_order() -> None:
    """One that was not looked at is not repeated: it may not be so any more."""
    before = conditions.merged([_storage(), conditions.accepted([])], [], 1, NOW)
    after = conditions.merged([conditions.accepted([]), _nodes(None)], before, 1, LATER)
    assert [entry["type"] for entry in after] == ["Accepted", "NodesConfigured"]


@pytest.mark.parametrize("length", [1023, 1024, 1025, 5000])
def test_a_long_message_is_cut_and_shows_it(length: int) -> None:
    (entry,) = conditions.merged([Condition("Ready", "True", "Ready", "x" * length)], [], 1, NOW)
    assert len(entry["message"]) == min(length, condition.MESSAGE_MAX)
    assert entry["message"].endswith("...") == (length > condition.MESSAGE_MAX)


_NO_CONDITIONS: tuple[Any, ...] = (None, 5, "text", [], {}, {"type": "Ready"}, {"status": "True"})


@pytest.mark.parametrize(
    "status",
    [
        *(None, 5, "text", [], {}, {"conditions": 5}, {"conditions": "text"}, {"conditions": {}}),
        *({"conditions": [entry]} for entry in _NO_CONDITIONS),
    ],
)
def test_a_status_of_any_shape_states_no_conditions(status: Any) -> None:
    assert condition.existing_conditions({**stored(), "status": status}) == []


def test_conditions_beside_broken_ones_are_stated() -> None:
    entry = {"type": "Ready", "status": "True"}
    assert condition.existing_conditions({"status": {"conditions": [None, entry, 5]}}) == [entry]


@pytest.mark.parametrize("live", [None, {}, {"status": None}, {"status": {}}, {"status": {"readyReplicas": None}}])
def test_what_is_not_there_counts_nothing(live: Json | None) -> None:
    assert rollout.ready_replicas(live) == 0
    assert node_conditions.node_counts(live) == (0, 0)
