"""What of watching can be decided without a server: one stream's events, how long to wait, and what to say.

The stages against a server are proven on a real one.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, cast

import pytest

from controller.informer.reflector import FIRST_WAIT, LONGEST_WAIT_FOR_ANSWER, Reflector, _why
from controller.informer.store import Store
from controller.kubeclient.errors import ClusterError, Forbidden, Gone, NotFound, Unavailable
from controller.objects import resources

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from common.types import Json
    from controller.kubeclient.client import KubeClient


class Stream:
    """The events of one watch, then its end, or an error."""

    def __init__(self, *events: Json | ClusterError) -> None:
        self._events = events

    async def pages(self, *_: object) -> AsyncIterator[tuple[list[Json], str]]:
        """A list of nothing."""
        yield [], "4"

    @asynccontextmanager
    async def watch(self, *_: object) -> AsyncIterator[AsyncIterator[Json]]:
        """Gives the events, whatever is asked."""
        yield self._each()

    async def _each(self) -> AsyncIterator[Json]:
        for event in self._events:
            if isinstance(event, ClusterError):
                raise event
            yield event


def _event(kind: str, version: int, name: str = "") -> Json:
    metadata = {"resourceVersion": str(version)} | ({"name": name} if name else {})
    return {"type": kind, "object": {"metadata": metadata}}


def _watch(*events: Json | ClusterError, longest_wait: float = 30.0) -> Reflector:
    return Reflector(
        cluster=cast("KubeClient", Stream(*events)),
        kind=resources.SERVICE,
        namespace="ns",
        store=Store(),
        log=None,
        longest_wait=longest_wait,
        on_restart=lambda _: None,
    )


async def test_a_stream_keeps_the_store_like_the_cluster_and_says_where_it_ended() -> None:
    watch = _watch(
        _event("ADDED", 5, "a"), _event("ADDED", 6, "b"), _event("MODIFIED", 7, "b"), _event("DELETED", 8, "a")
    )
    assert await watch.stream("4") == "8"
    assert list(watch.store) == ["b"]


async def test_a_bookmark_moves_the_place_to_go_on_from_and_nothing_else() -> None:
    watch = _watch(_event("BOOKMARK", 99))
    assert await watch.stream("4") == "99"
    assert len(watch.store) == 0


async def test_a_stream_that_brought_nothing_goes_on_from_where_it_began() -> None:
    assert await _watch().stream("4") == "4"


async def test_a_stream_that_ends_at_once_with_nothing_needs_a_new_list_and_a_longer_wait_each_time() -> None:
    watch = _watch()
    waits = []
    for _ in range(12):
        with pytest.raises(ClusterError, match="lets no watch through") as raised:
            await watch.list_then_watch()
        waits.append(watch._next_wait(raised.value))
    assert waits == [min(FIRST_WAIT * 2**count, 30.0) for count in range(12)]


async def test_an_error_in_the_stream_leaves_what_came_before_it() -> None:
    watch = _watch(_event("ADDED", 5, "a"), Gone("too old", 410))
    with pytest.raises(Gone):
        await watch.stream("4")
    assert list(watch.store) == ["a"]


async def test_an_event_is_a_sign_of_life_after_which_waiting_begins_anew() -> None:
    watch = _watch(_event("ADDED", 5, "a"))
    for _ in range(9):
        watch._next_wait(NotFound("no CRD"))
    await watch.stream("4")
    assert watch._next_wait(NotFound("no CRD")) == FIRST_WAIT


@pytest.mark.parametrize(
    ("error", "setting", "longest"),
    [
        (Unavailable("refused"), 30.0, LONGEST_WAIT_FOR_ANSWER),
        (NotFound("no CRD"), 30.0, 30.0),
        (Forbidden("RBAC"), 30.0, 30.0),
        (Unavailable("refused"), 0.5, 0.5),
        (NotFound("no CRD"), 0.5, 0.5),
    ],
)
def test_waits_double_up_to_what_the_setting_allows(error: ClusterError, setting: float, longest: float) -> None:
    """An API server that is only away is knocked at more often than one whose administrator must act."""
    watch = _watch(longest_wait=setting)
    waits = [watch._next_wait(error) for _ in range(12)]
    assert waits == [min(FIRST_WAIT * 2**count, longest) for count in range(12)]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (NotFound("x", 404, "NotFound"), "kubectl apply -k deploy/"),
        (Unavailable("the API server cannot be reached: refused"), "the API server cannot be reached: refused"),
        (Forbidden("services is forbidden", 403, "Forbidden"), "Forbidden: services is forbidden"),
        (ClusterError("odd", 418), "418: odd"),
    ],
)
def test_why_a_watch_was_lost_is_said_with_what_to_do(error: ClusterError, said: str) -> None:
    assert said in _why(error, resources.SERVICE)
