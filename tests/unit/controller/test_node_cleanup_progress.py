"""Test which nodes a mirror that is being deleted waits for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.model.observation import Agent
from controller.objects.finalizer import FINALIZER, finalizer_patch
from controller.reconcile import node_cleanup_progress
from controller.reconcile.node_cleanup_progress import CleanupProgress
from tests.support.controller import merged, stored


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
