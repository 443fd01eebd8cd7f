"""Test which nodes without an agent had one before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.nodes.node_history import NodeHistory
from tests.support.controller import a_daemon_set, stored

if TYPE_CHECKING:
    from common.types import Json


def _mirror(**nodes: int) -> Json:
    return {**stored(), "status": {"nodes": nodes}}


def test_new_nodes_without_room_are_untouched() -> None:
    history = NodeHistory()
    history.observe({"f1"}, desired=20, running=0)
    history.observe({"f1", "f2", "f3"}, desired=20, running=17)
    assert (history.untouched, history.lost) == ({"f1", "f2", "f3"}, set())
    history.observe({"f1", "f2", "f3", "f4"}, desired=21, running=17)
    assert history.untouched == {"f1", "f2", "f3", "f4"}, "it joined later"


def test_node_that_loses_its_agent_is_lost() -> None:
    history = NodeHistory()
    history.observe({"f1"}, desired=3, running=2)
    history.observe({"f1", "full"}, desired=3, running=1)
    assert (history.untouched, history.lost) == ({"f1"}, {"full"})
    history.observe({"f1", "full", "f2"}, desired=4, running=1)
    assert (history.untouched, history.lost) == ({"f1", "f2"}, {"full"})
    history.observe({"f1", "f2"}, desired=4, running=2)
    assert history.lost == set(), "it has room again"


def test_removed_nodes_do_not_count() -> None:
    history = NodeHistory()
    history.observe({"f1"}, desired=20, running=19)
    history.observe({"f1"}, desired=10, running=9)
    history.observe({"f1", "f2"}, desired=11, running=9)
    assert history.untouched == {"f1", "f2"}


def test_rollout_keeps_touched_nodes() -> None:
    """An agent without room for its successor leaves its files."""
    history = NodeHistory()
    history.observe(set(), desired=3, running=3)
    history.observe({"a", "b", "c"}, desired=3, running=0)
    assert history.lost == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("generation", "nodes", "untouched"),
    [
        (1, {}, True),
        (1, {"desired": 1, "ready": 0}, True),
        (1, {"desired": 1, "ready": 1}, False),
        (1, {"desired": 0, "ready": 0, "unschedulable": 1}, True),
        (2, {"desired": 1, "ready": 0}, False),
        (2, {"desired": 0, "ready": 0, "unschedulable": 1}, True),
        (None, {"desired": 1, "ready": 0}, False),
    ],
)
def test_next_controller_knows_touched_nodes(generation: int | None, nodes: Json, *, untouched: bool) -> None:
    daemon_set = None if generation is None else a_daemon_set(1, 0, generation=generation)
    history = NodeHistory.of(_mirror(**nodes), daemon_set)
    history.observe({"one"}, desired=1, running=0)
    assert (history.untouched, history.lost) == (({"one"}, set()) if untouched else (set(), {"one"}))


@given(st.lists(st.tuples(st.sets(st.sampled_from("abcd")), st.integers(0, 4))))
def test_each_idle_node_is_in_one_set(steps: list[tuple[set[str], int]]) -> None:
    history = NodeHistory()
    for idle, others in steps:
        history.observe(set(idle), len(idle) + others, others)
        assert history.untouched | history.lost == idle
        assert not history.untouched & history.lost
        assert history.touched <= len(history.lost) + others
