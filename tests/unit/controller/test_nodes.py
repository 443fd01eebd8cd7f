"""What is known of the agents, and what follows for a mirror that lives and for one that is being deleted."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.model.observation import Agent, Observation
from controller.nodes import agent_status
from controller.nodes.agent_status import agent_of, reason_of, sentences, told
from controller.objects.finalizer import FINALIZER, finalizer_patch
from controller.reconcile import node_cleanup_progress
from controller.reconcile.node_cleanup_progress import CleanupProgress
from controller.status import node_conditions
from tests.support.controller import a_daemon_set, inputs, judged, merged, stored

if TYPE_CHECKING:
    from common.types import Json

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
WHOLE = {"state": "blocked", "reason": "RuntimeIgnoresCerts", "message": "No config_path.", "node": "one"}
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*WHOLE, "x"]), inner, max_size=5),
    max_leaves=10,
)


def _pod(phase: str | None = "Running", seconds: int = 600, **status: Any) -> Json:
    created = datetime.fromtimestamp(NOW.timestamp() - seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "metadata": {"name": "pod", "creationTimestamp": created},
        "spec": {"nodeName": "one"},
        "status": {**({"phase": phase} if phase else {}), **status},
    }


# An agent, by its pod and by what it says


def test_a_pod_that_runs_is_an_agent_that_can_be_asked() -> None:
    conditions = [{"type": "Ready", "status": "True"}]
    assert agent_of(_pod(podIP="10.0.0.1", conditions=conditions), NOW) == Agent("one", "10.0.0.1", ready=True)


@pytest.mark.parametrize(
    ("pod", "hopeful"),
    [
        (_pod("Running"), True),
        (_pod("Pending", 9), True),
        (_pod("Pending", 11), False),  # no kubelet has taken it up
        (_pod("Pending", 31, startTime="x"), True),  # no image
        (_pod("Failed"), False),
        (_pod("Unknown"), False),
        (_pod(None), False),
    ],
)
def test_a_pod_that_runs_or_has_just_been_made_may_yet_clean(pod: Json, *, hopeful: bool) -> None:
    assert agent_of(pod, NOW).hopeful is hopeful


@pytest.mark.parametrize(
    ("pod", "blocked"),
    [
        (_pod("Running", startTime="x"), False),
        (_pod("Pending", 29, startTime="x"), False),
        (_pod("Pending", 31, startTime="x"), True),
        (_pod("Pending", 31), False),
    ],
)
def test_a_pod_that_its_kubelet_cannot_start_is_blocked(pod: Json, *, blocked: bool) -> None:
    assert agent_of(pod, NOW).blocked is blocked


def test_a_pod_without_anything_is_an_agent_nobody_can_ask() -> None:
    agent = agent_of({"metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"}}, NOW)
    assert (agent.node, agent.address, agent.ready) == ("", "", False)


def test_an_agent_says_state_reason_and_message() -> None:
    said = told(Agent("one"), WHOLE)
    assert (said.state, said.reason, said.message) == ("blocked", "RuntimeIgnoresCerts", "No config_path.")


@pytest.mark.parametrize(
    "answer", [None, 5, "text", [], {}, {"state": "great"}, {"state": None}, {"state": "cleaned", "node": "another"}]
)
def test_what_is_no_answer_of_this_agent_is_none(answer: Any) -> None:
    """The address of a pod that is gone may be anybody's."""
    assert told(Agent("one"), answer) == Agent("one")


@given(_JSON)
def test_whatever_answers_the_condition_stays_one_that_the_schema_takes(answer: Any) -> None:
    said = told(Agent("one"), answer)
    found = Observation(inputs(), daemon_set=a_daemon_set(3, 1), agents=(said, said, said, said))
    condition = node_conditions.nodes_configured(judged(), found, None)
    assert condition.reason.isalpha()
    assert condition.reason.isascii()
    assert condition.message.isprintable()
    assert len(condition.message) <= 1024


def test_a_long_message_of_several_lines_becomes_one_that_fits() -> None:
    said = told(Agent("one"), {"state": "blocked", "message": "a\nb\x00" + "c" * 1000})
    assert said.message.startswith("a b c")
    assert len(said.message) == agent_status.SENTENCE_MAX


# What they say together


def _agents(*pairs: tuple[str, str]) -> list[Agent]:
    return [
        told(Agent(f"node-{number}"), {"state": state, "reason": reason, "message": f"says {reason}."})
        for number, (state, reason) in enumerate(pairs)
    ]


@pytest.mark.parametrize(
    ("pairs", "reason"),
    [
        ([], "NodesPending"),
        ([("pending", "Starting"), ("configured", "Configured")], "NodesPending"),
        ([("blocked", "ExistingHostsToml"), ("pending", "Starting")], "ExistingHostsToml"),
        ([("blocked", "ExistingHostsToml"), ("blocked", "ExistingHostsToml")], "ExistingHostsToml"),
        ([("blocked", "ExistingHostsToml"), ("blocked", "RuntimeIgnoresCerts")], "NodesBlocked"),
        ([("blocked", "no word"), ("pending", "Starting")], "NodesBlocked"),
    ],
)
def test_the_reason_is_the_agents_where_all_that_are_hindered_agree(pairs: list[tuple[str, str]], reason: str) -> None:
    assert reason_of(_agents(*pairs)) == reason


def test_the_hindered_are_named_first_and_three_of_them_at_most() -> None:
    told_of = sentences(_agents(("pending", "A"), ("blocked", "B"), ("pending", "C"), ("blocked", "D")))
    assert told_of == "node-1: says B. node-3: says D. node-0: says A. (and 1 more)"
    assert sentences([Agent("silent")]) == ""


def test_agents_are_worth_asking_only_where_counted_nodes_are_not_ready() -> None:
    ask = node_conditions.are_pending
    assert ask(Observation(inputs(), daemon_set=a_daemon_set(3, 2)))
    for found in (
        Observation(inputs(), daemon_set=a_daemon_set(3, 3)),
        Observation(inputs(), daemon_set=a_daemon_set(0, 0)),
        Observation(inputs(), daemon_set=a_daemon_set(3, 2, generation=2)),
        Observation(inputs(), daemon_set=None),
        Observation(inputs(holder="older"), daemon_set=a_daemon_set(3, 2)),
    ):
        assert not ask(found)


def test_the_younger_mirror_of_an_upstream_says_through_which_its_images_come() -> None:
    found = Observation(inputs(images_holder="older"), daemon_set=a_daemon_set(3, 3))
    condition = node_conditions.nodes_configured(judged(), found, None)
    assert (condition.status, condition.reason) == ("True", "AllNodesReady")
    assert condition.message == (
        "All of 3 nodes point at the mirror. Images of quay.io come through RegistryMirror older, which is older;"
        " this one is reached as mirror-quay.io/..., and takes over when older is gone."
    )


# A mirror that is being deleted


@given(st.lists(st.sampled_from([FINALIZER, "a.example/x", "b.example/y"]), unique=True), st.booleans())
def test_our_finalizer_is_added_once_and_taken_off_whole_and_others_stay(present: list[str], held: bool) -> None:  # noqa: FBT001
    raw = stored()
    raw["metadata"]["finalizers"] = present
    patch = finalizer_patch(raw, held=held)
    after = merged(raw, patch or {})
    assert (FINALIZER in after["metadata"]["finalizers"]) is held
    others = [each for each in present if each != FINALIZER]
    assert [each for each in after["metadata"]["finalizers"] if each != FINALIZER] == others
    assert finalizer_patch(after, held=held) is None
    if patch is not None:
        assert patch["metadata"]["resourceVersion"] == raw["metadata"]["resourceVersion"]


def test_every_agent_that_may_yet_clean_is_waited_for() -> None:
    progress = CleanupProgress()
    agents = [
        Agent("clean", state="cleaned"),
        Agent("ready", ready=True, hopeful=False),
        Agent("answers", state="pending", hopeful=False),
        Agent("restarts"),
        Agent("unstarted", hopeful=False),
        Agent("over", over=True, hopeful=False),
        Agent("", hopeful=False),
    ]
    waiting, starting = progress.see(agents, expected=6)
    assert (waiting, starting) == ({"ready", "answers", "restarts"}, 0)
    assert progress.unseen(6) == "answers, over, ready, restarts, unstarted"


def test_an_agent_that_cannot_start_is_waited_for_where_an_earlier_one_may_have_run() -> None:
    """A broken rollout leaves what the agents before it wrote; where none ever ran nothing can be left."""
    agents = [Agent("blocked", blocked=True)]
    assert CleanupProgress().see(agents, expected=1, untouched=False) == ({"blocked"}, 0)
    assert CleanupProgress().see(agents, expected=1, untouched=True) == (set(), 0)
    assert CleanupProgress().see([Agent("runs")], expected=1, untouched=True) == ({"runs"}, 0)


@pytest.mark.parametrize(
    ("generation", "ready", "untouched"),
    [(1, 0, True), (1, None, True), (2, 0, False), (1, 1, False), (None, 0, False)],
)
def test_nodes_are_untouched_by_agents_of_a_first_template_that_were_never_ready(
    generation: int | None, ready: int | None, *, untouched: bool
) -> None:
    raw = stored()
    raw["status"] = {"nodes": {"desired": 1, "ready": ready}}
    live = None if generation is None else {"metadata": {"generation": generation}}
    assert node_cleanup_progress.is_untouched(raw, live) is untouched


def test_a_node_that_was_seen_clean_stays_so_when_its_agent_goes() -> None:
    progress = CleanupProgress()
    progress.see([Agent("one", state="cleaned"), Agent("two")], expected=2)
    assert progress.see([], expected=2) == (set(), 1)
    assert progress.unseen(2) == "two"
    progress.see([Agent("two", state="cleaned")], expected=2)
    assert progress.see([Agent("one")], expected=2) == (set(), 0)
    assert progress.unseen(2) == ""


def test_agents_that_are_to_be_there_and_are_not_are_waited_for() -> None:
    """A rollout deletes pods before it makes the next."""
    assert CleanupProgress().see([Agent("one", state="cleaned"), Agent("")], expected=4) == (set(), 3)
    assert CleanupProgress().see([Agent("", hopeful=False)], expected=1) == (set(), 0)


def test_what_is_left_is_told_with_names_and_a_number() -> None:
    progress = CleanupProgress()
    progress.see([Agent(f"n{number:02}") for number in range(12)], expected=12)
    assert progress.unseen(14) == "n00, n01, n02, n03, n04, n05, n06, n07, n08, n09 and 2 more and 2 without an agent"
    assert CleanupProgress().unseen(0) == ""


@given(st.sets(st.sampled_from("abcdefgh")), st.integers(0, 9))
def test_a_sentence_says_what_is_waited_for(waiting: set[str], starting: int) -> None:
    sentence = node_cleanup_progress.waiting_message(waiting, starting, 120)
    assert sentence.startswith("Being deleted. Waiting up to 120 s for ")
    assert sentence.endswith(" to clean their nodes.")
    assert all(f"{node}" in sentence for node in sorted(waiting)[:3])


def test_a_deadline_is_counted_from_the_first_look_by_one_clock() -> None:
    """The time of deletion is of the API server's clock, which may be minutes or years away from ours."""
    progress = CleanupProgress()
    assert not progress.is_overdue(120, 5000.0)
    assert not progress.is_overdue(120, 5119.0)
    assert progress.is_overdue(120, 5120.0)
    assert CleanupProgress().is_overdue(0, 5000.0)
