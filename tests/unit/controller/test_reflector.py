"""Test the reflector without an API server: events of a stream, waits and log messages.

tests/cluster/test_faults.py has the tests with one.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, cast

import pytest

from controller.informer.reflector import FIRST_WAIT, LONGEST_WAIT_UNAVAILABLE, Reflector, _why
from controller.informer.store import Store
from controller.kubeclient.errors import ClusterError, Forbidden, Gone, NotFound, Unavailable
from controller.objects import resources

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from common.types import Json
    from controller.kubeclient.client import KubeClient


class Stream:
    """Stand in for the client: one watch with given events, then its end or an error."""

    def __init__(self, *events: Json | ClusterError) -> None:
        self._events = events

    async def pages(self, *_: object) -> AsyncIterator[tuple[list[Json], str]]:
        """Yield an empty list."""
        yield [], "4"

    @asynccontextmanager
    async def watch(self, *_: object) -> AsyncIterator[AsyncIterator[Json]]:
        """Yield the events."""
        yield self._each()

    async def _each(self) -> AsyncIterator[Json]:
        for event in self._events:
            if isinstance(event, ClusterError):
                raise event
            yield event


def _event(kind: str, version: int, name: str = "") -> Json:
    metadata = {"resourceVersion": str(version)} | ({"name": name} if name else {})
    return {"type": kind, "object": {"metadata": metadata}}


def _reflector(*events: Json | ClusterError, longest_wait: float = 30.0) -> Reflector:
    return Reflector(
        cluster=cast("KubeClient", Stream(*events)),
        kind=resources.SERVICE,
        namespace="ns",
        store=Store(),
        log=None,
        longest_wait=longest_wait,
        on_restart=lambda _: None,
    )


async def test_stream_updates_the_store_and_the_version() -> None:
    reflector = _reflector(
        _event("ADDED", 5, "a"), _event("ADDED", 6, "b"), _event("MODIFIED", 7, "b"), _event("DELETED", 8, "a")
    )
    assert await reflector.stream("4") == "8"
    assert list(reflector.store) == ["b"]


async def test_bookmark_moves_only_the_version() -> None:
    reflector = _reflector(_event("BOOKMARK", 99))
    assert await reflector.stream("4") == "99"
    assert len(reflector.store) == 0


async def test_empty_stream_keeps_the_version() -> None:
    assert await _reflector().stream("4") == "4"


async def test_short_streams_need_lists_with_growing_waits() -> None:
    reflector = _reflector()
    waits = []
    for _ in range(12):
        with pytest.raises(ClusterError, match="does not support watches") as raised:
            await reflector.list_then_watch()
        waits.append(reflector._next_wait(raised.value))
    assert waits == [min(FIRST_WAIT * 2**count, 30.0) for count in range(12)]


async def test_error_in_stream_keeps_earlier_events() -> None:
    reflector = _reflector(_event("ADDED", 5, "a"), Gone("too old", 410))
    with pytest.raises(Gone):
        await reflector.stream("4")
    assert list(reflector.store) == ["a"]


async def test_event_resets_the_wait() -> None:
    reflector = _reflector(_event("ADDED", 5, "a"))
    for _ in range(9):
        reflector._next_wait(NotFound("no CRD"))
    await reflector.stream("4")
    assert reflector._next_wait(NotFound("no CRD")) == FIRST_WAIT


@pytest.mark.parametrize(
    ("error", "setting", "longest"),
    [
        (Unavailable("refused"), 30.0, LONGEST_WAIT_UNAVAILABLE),
        (NotFound("no CRD"), 30.0, 30.0),
        (Forbidden("RBAC"), 30.0, 30.0),
        (Unavailable("refused"), 0.5, 0.5),
        (NotFound("no CRD"), 0.5, 0.5),
    ],
)
def test_waits_double_up_to_the_setting(error: ClusterError, setting: float, longest: float) -> None:
    """An unavailable API server is retried more often than an error for the administrator."""
    reflector = _reflector(longest_wait=setting)
    waits = [reflector._next_wait(error) for _ in range(12)]
    assert waits == [min(FIRST_WAIT * 2**count, longest) for count in range(12)]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (NotFound("x", 404, "NotFound"), "kubectl apply -k deploy/"),
        (Unavailable("the API server cannot be reached: refused"), "the API server cannot be reached: refused"),
        (Forbidden("services is forbidden", 403, "Forbidden"), "Forbidden: services is forbidden"),
        (ClusterError("odd", 418), "418: odd"),
    ],
)
def test_lost_watch_message(error: ClusterError, message: str) -> None:
    assert message in _why(error, resources.SERVICE)
