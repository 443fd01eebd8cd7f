"""Test which nodes a mirror that is being deleted waits for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from controller.model.observation import Agent
from controller.objects.finalizer import FINALIZER, finalizer_patch
from controller.reconcile import node_cleanup_progress
from controller.reconcile.node_cleanup_progress import CleanupProgress
from tests.support.controller import merged, stored


@given(st.lists(st.sampled_from([FINALIZER, "a.example/x", "b.example/y"]), unique=True), st.booleans())
def test_finalizer_patch_keeps_other_finalizers(before: list[str], present: bool) -> None:  # noqa: FBT001
    obj = stored()
    obj["metadata"]["finalizers"] = before
    patch = finalizer_patch(obj, present=present)
    after = merged(obj, patch or {})
    assert (FINALIZER in after["metadata"]["finalizers"]) is present
    others = [each for each in before if each != FINALIZER]
    assert [each for each in after["metadata"]["finalizers"] if each != FINALIZER] == others
    assert finalizer_patch(after, present=present) is None
    if patch is not None:
        assert patch["metadata"]["resourceVersion"] == obj["metadata"]["resourceVersion"]


def test_agents_that_may_clean_are_awaited() -> None:
    progress = CleanupProgress()
    agents = [
        Agent("clean", state="cleaned"),
        Agent("ready", ready=True, may_start=False),
        Agent("answers", state="pending", may_start=False),
        Agent("restarts"),
        Agent("unstarted", may_start=False),
        Agent("over", finished=True, may_start=False),
        Agent("", may_start=False),
    ]
    waiting, starting = progress.see(agents, expected=6)
    assert (waiting, starting) == ({"ready", "answers", "restarts"}, 0)
    assert progress.unseen(6) == "answers, over, ready, restarts, unstarted"


def test_unstartable_agent_is_awaited_on_touched_nodes() -> None:
    """A broken rollout leaves the files of earlier agents. If no agent ever ran, the node has no files."""
    agents = [Agent("blocked", start_overdue=True, idle=True)]
    assert CleanupProgress().see(agents, expected=1) == ({"blocked"}, 0)
    assert CleanupProgress().see(agents, expected=1, untouched={"blocked"}) == (set(), 0)
    assert CleanupProgress().see([Agent("runs")], expected=1, untouched={"runs"}) == ({"runs"}, 0)


def test_node_without_any_agent_has_nothing_to_clean() -> None:
    """The scheduler found no room for its agent, or no kubelet took it up."""
    progress = CleanupProgress()
    agents = [
        Agent("clean", state="cleaned"),
        Agent("fargate", scheduled=False, idle=True, may_start=False, unschedulable="no room"),
        Agent("virtual", idle=True, may_start=False),
        Agent("full", scheduled=False, idle=True, may_start=False, unschedulable="no room"),
    ]
    assert progress.see(agents, expected=4, untouched={"fargate", "virtual"}) == (set(), 0)
    assert progress.unseen(4) == "full"
    assert progress.unseen(5) == "full and 1 without an agent"


def test_agent_that_starts_late_must_clean() -> None:
    progress = CleanupProgress()
    assert progress.see([Agent("late", idle=True)], expected=1, untouched={"late"}) == ({"late"}, 0)
    assert progress.see([Agent("late", ready=True)], expected=1, untouched={"late"}) == ({"late"}, 0)
    assert progress.unseen(1) == "late"


def test_nodes_before_deletion_include_unschedulable_ones() -> None:
    obj = stored()
    assert node_cleanup_progress.nodes_before(obj) == 0
    obj["status"] = {"nodes": {"desired": 17, "ready": 2, "unschedulable": 3}}
    assert node_cleanup_progress.nodes_before(obj) == 20


def test_clean_node_stays_clean_without_agent() -> None:
    progress = CleanupProgress()
    progress.see([Agent("one", state="cleaned"), Agent("two")], expected=2)
    assert progress.see([], expected=2) == (set(), 1)
    assert progress.unseen(2) == "two"
    progress.see([Agent("two", state="cleaned")], expected=2)
    assert progress.see([Agent("one")], expected=2) == (set(), 0)
    assert progress.unseen(2) == ""


def test_missing_agents_are_awaited() -> None:
    """A rollout deletes pods before it creates the next."""
    assert CleanupProgress().see([Agent("one", state="cleaned"), Agent("")], expected=4) == (set(), 3)
    assert CleanupProgress().see([Agent("", may_start=False)], expected=1) == (set(), 0)


def test_unseen_nodes_have_names_and_number() -> None:
    progress = CleanupProgress()
    progress.see([Agent(f"n{number:02}") for number in range(12)], expected=12)
    assert progress.unseen(14) == "n00, n01, n02, n03, n04, n05, n06, n07, n08, n09 and 2 more and 2 without an agent"
    assert CleanupProgress().unseen(0) == ""


@given(st.sets(st.sampled_from("abcdefgh")), st.integers(0, 9))
def test_waiting_sentence_names_nodes(waiting: set[str], starting: int) -> None:
    sentence = node_cleanup_progress.waiting_message(waiting, starting, 120)
    assert sentence.startswith("Being deleted. Waiting up to 120 s for ")
    assert sentence.endswith(" to clean their nodes.")
    assert all(f"{node}" in sentence for node in sorted(waiting)[:3])


def test_deadline_starts_with_first_poll() -> None:
    """The deletion timestamp is of the API server's clock, which may differ."""
    progress = CleanupProgress()
    assert not progress.is_overdue(120, 5000.0)
    assert not progress.is_overdue(120, 5119.0)
    assert progress.is_overdue(120, 5120.0)
    assert CleanupProgress().is_overdue(0, 5000.0)
