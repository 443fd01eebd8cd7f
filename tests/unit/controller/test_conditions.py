"""Test each condition, each of its reasons and its message."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from common.field_errors import INVALID, FieldError
from common.status import Condition as StoredCondition
from controller.model import condition
from controller.model.condition import Condition, Reason
from controller.model.inputs import Credentials, CredentialsState, MissingInput
from controller.model.observation import Agent, Observation, Verdict
from controller.model.results import ApplyResult, ResizePlan, StorageResult
from controller.nodes.agent_status import with_answer
from controller.objects import rollout
from controller.status import conditions, node_conditions, reasons, upstream_conditions
from tests.support.controller import LATER, NOW, a_claim, a_daemon_set, a_stateful_set, inputs, parsed, stored
from tests.support.mirrors import a_mirror

if TYPE_CHECKING:
    from common.types import Json

MIRROR = parsed(a_mirror().logging_in_with("login").known_as("local.quay.io"))
CLAIM = a_claim(0, "20Gi")["metadata"]["name"]
EVENTS_OF = "kubectl get events -A --field-selector involvedObject.name="


def _cache(**found: Any) -> Condition:
    return conditions.cache_available(stored(), MIRROR, Observation(inputs(), **found))


def _nodes(
    daemon_set: Json | None, holder: str | None = None, *, hides_registry: bool = False, serving: bool = True
) -> Condition:
    observation = Observation(inputs(hides_registry=hides_registry), daemon_set=daemon_set)
    return node_conditions.nodes_configured(MIRROR, observation, holder, serving=serving)


def _credentials(state: CredentialsState) -> Condition:
    known = inputs(credentials=Credentials(state))
    return upstream_conditions.credentials_available(stored(), MIRROR, "mirrors", known, [])


def _upstream(verdict: Verdict | None = None) -> Condition:
    return upstream_conditions.upstream_reachable(stored(), MIRROR, [] if verdict is None else [verdict])


def _storage(
    missing: list[str] | None = None,
    granted: str | None = None,
    refused: str | None = None,
    foreign: list[str] | None = None,
) -> Condition:
    plan = ResizePlan("30Gi", missing=missing or [], foreign=foreign or [], granted=granted)
    return conditions.storage_resized(StorageResult(plan, refused))


NO_REPLICA = (
    "CacheAvailable False NoReplicaReady: None of 2 cache pods is ready. Nodes pull from the upstream."
    " Run: kubectl describe statefulset,pod -A -l mirror=docker"
)
DESCRIBE_AGENTS = " Run: kubectl describe daemonset,pod -A -l mirror=docker"
NOT_COUNTED = "NodesConfigured False NodesNotCounted: The DaemonSet changed. Kubernetes has not counted its nodes yet."
PENDING = "NodesConfigured False NodesPending:"
OTHERS = "nodes use the mirror. The others pull from the upstream."
EVERY = [
    (conditions.accepted([]), "Accepted True Valid: The spec is valid."),
    (
        conditions.accepted(
            [
                FieldError("spec.ttl", INVALID, "is no duration", "7d"),
                FieldError("spec.replicas", INVALID, "too many", 11),
            ]
        ),
        (
            "Accepted False InvalidSpec:"
            ' spec.ttl: Invalid value: "7d": is no duration; spec.replicas: Invalid value: 11: too many.'
            " Existing objects stay unchanged. Correct the spec."
        ),
    ),
    (
        _cache(stateful_set=a_stateful_set(ready=2)),
        "CacheAvailable True AllReplicasReady: 2 of 2 cache pods are ready.",
    ),
    (
        _cache(stateful_set=a_stateful_set(ready=1)),
        "CacheAvailable True SomeReplicasReady: 1 of 2 cache pods are ready.",
    ),
    (_cache(stateful_set=a_stateful_set(ready=0)), NO_REPLICA),
    (_cache(stateful_set=None), NO_REPLICA),
    (
        _cache(refused="exceeded quota: storage", stateful_set=a_stateful_set(ready=2)),
        "CacheAvailable True AllReplicasReady: 2 of 2 cache pods are ready.",
    ),
    (
        _cache(refused="exceeded quota: storage", stateful_set=None),
        (
            "CacheAvailable False NoReplicaReady: None of 2 cache pods is ready. Nodes pull from the upstream."
            " The API server refused: exceeded quota: storage"
        ),
    ),
    (
        _cache(applied=ApplyResult(foreign={"Service b": "belongs to Deployment web", "Secret a": "has no owner"})),
        (
            "CacheAvailable False ObjectNotOwned:"
            " Secret a has no owner; Service b belongs to Deployment web. Delete them, or create the mirror under"
            " another name."
        ),
    ),
    (
        conditions.missing_input(MissingInput("CABundleMissing", "create it"))[0],
        "CacheAvailable False CABundleMissing: create it",
    ),
    (_upstream(), "UpstreamReachable Unknown NotAsked: The controller has not asked the cache pods yet."),
    (
        _credentials(CredentialsState.NOT_REQUIRED),
        "CredentialsAvailable True NotRequired: The mirror names no Secret. The cache pulls anonymously.",
    ),
    (
        _credentials(CredentialsState.FOUND),
        "CredentialsAvailable True Found: Secret mirrors/login has username and password.",
    ),
    (
        _credentials(CredentialsState.SECRET_MISSING),
        (
            "CredentialsAvailable False SecretMissing:"
            " Secret mirrors/login does not exist. The cache pulls anonymously. Create it with username and password."
        ),
    ),
    (
        _credentials(CredentialsState.SECRET_INCOMPLETE),
        (
            "CredentialsAvailable False SecretIncomplete:"
            " Secret mirrors/login has no username and password for quay.io."
            " The cache pulls anonymously. Set both. A Secret of type kubernetes.io/dockerconfigjson needs an entry for"
            " quay.io."
        ),
    ),
    (_nodes(a_daemon_set(3, 3)), "NodesConfigured True AllNodesReady: 3 of 3 nodes use the mirror."),
    (_nodes(a_daemon_set(3, 2)), f"{PENDING} 2 of 3 {OTHERS}{DESCRIBE_AGENTS}"),
    (_nodes(a_daemon_set(3, 3, updated=1)), f"{PENDING} 1 of 3 {OTHERS}{DESCRIBE_AGENTS}"),
    (
        _nodes(a_daemon_set(3, 3), serving=False),
        "NodesConfigured True NodesUseUpstream: No cache pod serves the upstream. Nodes pull from the upstream.",
    ),
    (
        _nodes(a_daemon_set(3, 2), serving=False),
        (
            f"{PENDING} 2 of 3 nodes are configured. No cache pod serves the upstream."
            f" Nodes pull from the upstream.{DESCRIBE_AGENTS}"
        ),
    ),
    (_nodes(None), "NodesConfigured False NodesPending: The DaemonSet does not exist yet."),
    (_nodes({"metadata": {"generation": 1}}), NOT_COUNTED),
    (_nodes(a_daemon_set(3, 3, generation=2)), NOT_COUNTED),
    (
        _nodes(a_daemon_set(3, 3), holder="older"),
        (
            "NodesConfigured False MasqueradeConflict:"
            " RegistryMirror older is older and has the same masqueradeUrl, local.quay.io."
            " Set another spec.masqueradeUrl, or delete older."
        ),
    ),
    (
        _nodes(a_daemon_set(3, 3), holder="other", hides_registry=True),
        (
            "NodesConfigured False MasqueradeConflict:"
            " RegistryMirror other mirrors a registry at local.quay.io, which nodes must reach by that name."
            " Set a spec.masqueradeUrl that no registry has."
        ),
    ),
    (_storage(granted="30Gi"), "StorageResized True Granted: All claims have at least 30Gi."),
    (
        _storage([CLAIM]),
        f"StorageResized Unknown ClaimsPending: Claim {CLAIM} is not bound to a volume. Run: {EVENTS_OF}{CLAIM}",
    ),
    (
        _storage([CLAIM, "another"], granted="20Gi"),
        (
            "StorageResized False Resizing:"
            f" Claim {CLAIM} waits to grow to 30Gi. 1 more claims wait too. 20Gi are granted."
        ),
    ),
    (
        _storage([CLAIM], granted="20Gi", foreign=[CLAIM]),
        (
            "StorageResized False ClaimForeign:"
            f" Claim {CLAIM} does not have this mirror's labels and stays below 30Gi. Resize it yourself, or request"
            " its size in the spec. 20Gi are granted."
        ),
    ),
    (
        _storage(["another", CLAIM], foreign=[CLAIM]),
        (
            f"StorageResized Unknown ClaimsPending: Claim another is not bound to a volume. Claim"
            f" {CLAIM} does not have this mirror's labels and stays below 30Gi. Resize it yourself, or request its size"
            f" in the spec. Run: {EVENTS_OF}another"
        ),
    ),
    (
        _storage([CLAIM], refused="30Gi cannot be granted: only dynamically provisioned pvc can be resized"),
        "StorageResized False ResizeRefused: 30Gi cannot be granted: only dynamically provisioned pvc can be resized",
    ),
    (
        conditions.ready([_nodes(a_daemon_set(3, 3))]),
        "Ready True Ready: The cache serves. 3 of 3 nodes use the mirror.",
    ),
    (
        conditions.ready([_nodes(a_daemon_set(0, 0))]),
        "Ready True Ready: The cache serves. No node matches the agent's node selector. Check HOSTESS_NODE_SELECTOR.",
    ),
]


@pytest.mark.parametrize(("condition", "text"), EVERY, ids=lambda value: str(value)[:60])
def test_condition_has_reason_and_message(condition: Condition, text: str) -> None:
    assert f"{condition.type} {condition.status} {condition.reason}: {condition.message}" == text


@pytest.mark.parametrize("condition", [condition for condition, _ in EVERY], ids=lambda value: value.reason)
def test_condition_matches_schema(condition: Condition) -> None:
    (entry,) = conditions.merged([condition], [], 1, NOW)
    StoredCondition.model_validate(entry)
    assert re.fullmatch(r"[A-Z][A-Za-z]+", condition.reason)


def test_daemon_set_without_nodes_is_unknown() -> None:
    assert (_nodes(a_daemon_set(0, 0)).status, _nodes(a_daemon_set(0, 0)).reason) == ("Unknown", "NoNodes")


def test_ready_repeats_first_false_condition() -> None:
    good, unknown = conditions.accepted([]), _upstream()
    first, second = _nodes(None), _credentials(CredentialsState.SECRET_MISSING)
    ready = conditions.ready([good, unknown, first, second])
    assert (ready.type, ready.status, ready.reason) == ("Ready", "False", "NodesPending")
    assert ready.message == "NodesConfigured: The DaemonSet does not exist yet."


def test_ready_ignores_unknown() -> None:
    assert conditions.ready([_upstream(), _storage([CLAIM])]).status == "True"


def test_ready_stays_true_without_upstream() -> None:
    """A mirror serves without its upstream, and a rollout does not wait for a rate limit."""
    away = _upstream(Verdict(reasons.RATE_LIMITED, "https://quay.io answers 429."))
    found = conditions.ready([conditions.accepted([]), away])
    assert (found.status, found.reason) == ("True", "RateLimited")
    assert found.message == "The cache serves. UpstreamReachable: https://quay.io answers 429."
    worse = _credentials(CredentialsState.SECRET_MISSING)
    assert conditions.ready([away, worse]).reason == "SecretMissing"


@pytest.mark.parametrize("reason", [reasons.AGENTS_UNSCHEDULABLE, reasons.NO_AGENT_SCHEDULED])
def test_ready_does_not_wait_for_nodes_without_room(reason: Reason) -> None:
    found = conditions.ready([conditions.accepted([]), reason.condition("2 of 2 nodes use the mirror.")])
    assert (found.status, found.reason) == ("True", reason.name)
    assert found.message == "The cache serves. NodesConfigured: 2 of 2 nodes use the mirror."
    away = _upstream(Verdict(reasons.RATE_LIMITED, "https://quay.io answers 429."))
    both = conditions.ready([away, reason.condition("2 of 2.")])
    assert both.reason == "RateLimited"
    assert both.message == (
        "The cache serves. UpstreamReachable: https://quay.io answers 429. NodesConfigured: 2 of 2."
    )


def test_transition_time_changes_with_status_only() -> None:
    first = conditions.merged([_nodes(None)], [], 1, NOW)
    assert first[0]["lastTransitionTime"] == NOW
    same = conditions.merged([_nodes(a_daemon_set(3, 1))], first, 2, LATER)
    assert (same[0]["lastTransitionTime"], same[0]["observedGeneration"]) == (NOW, 2)
    assert same[0]["message"] != first[0]["message"]
    turned = conditions.merged([_nodes(a_daemon_set(3, 3))], same, 2, LATER)
    assert turned[0]["lastTransitionTime"] == LATER


def test_merged_keeps_order_of_reconcile() -> None:
    """A condition that was not computed is left out."""
    before = conditions.merged([_storage(), conditions.accepted([])], [], 1, NOW)
    after = conditions.merged([conditions.accepted([]), _nodes(None)], before, 1, LATER)
    assert [entry["type"] for entry in after] == ["Accepted", "NodesConfigured"]


def test_images_holder_serves_pulls_without_cache() -> None:
    """The nodes pull through the older mirror of the same upstream, not from the upstream."""
    observation = Observation(inputs(images_holders={"quay.io": "older"}), daemon_set=a_daemon_set(3, 3))
    cache = conditions.cache_available(stored(), MIRROR, observation)
    nodes = node_conditions.nodes_configured(MIRROR, observation, None, serving=False)
    assert "Nodes pull through RegistryMirror older." in cache.message
    assert "Nodes pull through RegistryMirror older." in nodes.message


@pytest.mark.parametrize("length", [1023, 1024, 1025, 5000])
def test_long_message_is_cut(length: int) -> None:
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
def test_malformed_status_has_no_conditions(status: Any) -> None:
    assert condition.existing_conditions({**stored(), "status": status}) == []


def test_malformed_conditions_are_skipped() -> None:
    entry = {"type": "Ready", "status": "True"}
    assert condition.existing_conditions({"status": {"conditions": [None, entry, 5]}}) == [entry]


@pytest.mark.parametrize("current", [None, {}, {"status": None}, {"status": {}}, {"status": {"readyReplicas": None}}])
def test_missing_status_counts_nothing(current: Json | None) -> None:
    assert rollout.ready_replicas(current) == 0
    assert node_conditions.node_counts(current) == (0, 0)


@pytest.mark.parametrize(
    ("ready", "found", "expected"),
    [
        (
            0,
            {"cache_fault": "StatefulSet x: FailedCreate: exceeded quota."},
            (
                "NoReplicaReady: None of 2 cache pods is ready. Nodes pull from the upstream."
                " StatefulSet x: FailedCreate: exceeded quota."
            ),
        ),
        (
            1,
            {"cache_fault": "Pod x-1: FailedScheduling: no room."},
            "SomeReplicasReady: 1 of 2 cache pods are ready. Pod x-1: FailedScheduling: no room.",
        ),
        (
            2,
            {"volume_problem": "x-0: The volume cannot be written: Read-only file system."},
            (
                "StoreUnwritable: 2 of 2 cache pods are ready."
                " x-0: The volume cannot be written: Read-only file system."
                " New content is served without being stored. Free space on the volume, or repair it."
                " More storage in the spec helps against a full volume."
            ),
        ),
    ],
)
def test_reason_of_another_object_is_repeated(ready: int, found: Json, expected: str) -> None:
    """K4: the message says why, and not only where to find it."""
    condition = _cache(stateful_set=a_stateful_set(ready=ready), **found)
    assert f"{condition.reason}: {condition.message}" == expected


def test_fault_of_an_agent_is_repeated() -> None:
    """K4: an agent that cannot start says nothing itself."""
    fault = "Pod x on node-1: FailedMount: read-only file system."
    observation = Observation(inputs(), daemon_set=a_daemon_set(3, 2), agent_fault=fault)
    found = node_conditions.nodes_configured(MIRROR, observation, None, serving=True)
    assert found.message == f"2 of 3 {OTHERS} {fault}"


def test_fault_explains_a_silent_agent() -> None:
    """K4: the pod of an agent that was killed has an address, at which nothing answers."""
    silent = with_answer(Agent("node-1", "10.0.0.1"), None)
    found = Observation(inputs(), daemon_set=a_daemon_set(3, 2), agents=(silent,))
    assert node_conditions.are_silent(found)
    fault = "Pod x on node-1: CrashLoopBackOff: OOMKilled, exit code 137."
    condition = node_conditions.nodes_configured(MIRROR, replace(found, agent_fault=fault), None, serving=True)
    assert condition.message == f"2 of 3 {OTHERS} {fault}"
