"""Measure a burst: create many mirrors as fast as a client can, until their last object exists."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import orjson
import uvloop

from benchmarks.audit import by_verb, writes_per_object
from benchmarks.client import connected, post_all
from benchmarks.stage import CONTROLLER_USER
from benchmarks.subjects import a_mirror
from controller.objects.resources import CHILDREN, MIRROR

if TYPE_CHECKING:
    from collections import Counter

    from benchmarks.audit import Request
    from benchmarks.stage import Stage

OBJECTS_EACH: Final = 6
_CHILDREN: Final = frozenset(kind.plural for kind in CHILDREN)
DEADLINE: Final = 300.0  # seconds; a burst of 500 takes some ten on a quiet machine
QUIET: Final = 3.0  # seconds without a request; longer than any wait of the controller within a burst


@dataclass(frozen=True)
class Burst:
    """One burst. `seconds` count from the first create of a mirror to the last create of an object.

    `requests` of the controller are counted by `verb resource` until it is quiet. The API server refused `refused` of
    them. Memory is measured at the end.
    """

    mirrors: int
    seconds: float
    client_seconds: float
    controller_cpu_seconds: float
    api_server_cpu_seconds: float
    requests: dict[str, int]
    refused: int
    reconciles: float
    most_writes_per_object: int
    most_status_writes: int
    mean_status_writes: float
    resident_mib: float
    peak_mib: float

    @property
    def requests_per_mirror(self) -> float:
        """Return the controller's requests per mirror, without watches, lists and leases."""
        requests = sum(count for kind, count in self.requests.items() if not kind.startswith(("watch", "list")))
        return requests / self.mirrors


def measure(stage: Stage, count: int) -> Burst:
    """Create `count` mirrors on a stage with a ready controller."""
    audit = stage.audit()
    server, controller = stage.api_server.cpu_seconds(), stage.controller.cpu_seconds()
    uvloop.run(_create(stage, count))
    audit.until(
        lambda requests: len(_dependents(requests)) >= count * OBJECTS_EACH, "all objects of all mirrors", DEADLINE
    )
    requests = audit.until_quiet(CONTROLLER_USER, QUIET, DEADLINE)
    mirrors = [each for each in audit.requests if each.resource == MIRROR.plural and each.verb == "create"]
    first = min(each.received for each in mirrors)
    status = _status_writes(requests)
    return Burst(
        mirrors=count,
        seconds=max(each.answered for each in _dependents(audit.requests)) - first,
        client_seconds=max(each.answered for each in mirrors) - first,
        controller_cpu_seconds=stage.controller.cpu_seconds() - controller,
        api_server_cpu_seconds=stage.api_server.cpu_seconds() - server,
        requests=by_verb(requests),
        refused=sum(not each.succeeded for each in requests),
        reconciles=stage.reconciles(),
        most_writes_per_object=max(_object_writes(requests).values()),
        most_status_writes=max(status.values()),
        mean_status_writes=status.total() / count,
        resident_mib=stage.controller.resident_mib(),
        peak_mib=stage.controller.peak_mib(),
    )


async def _create(stage: Stage, count: int) -> None:
    posts = [(MIRROR.path(None), orjson.dumps(a_mirror(number))) for number in range(count)]
    async with connected(stage.cluster) as client:
        await post_all(client, posts)


def _dependents(requests: list[Request]) -> list[Request]:
    """Return the creates of objects that belong to mirrors."""
    return [
        each
        for each in requests
        if each.user == CONTROLLER_USER and each.verb == "create" and each.succeeded and each.resource in _CHILDREN
    ]


def _object_writes(requests: list[Request]) -> Counter[str]:
    return writes_per_object(each for each in requests if each.resource in _CHILDREN)


def _status_writes(requests: list[Request]) -> Counter[str]:
    return writes_per_object(each for each in requests if each.resource == f"{MIRROR.plural}/status")
