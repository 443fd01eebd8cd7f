"""The burst: many mirrors created as fast as a client can, until the last of their objects stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import orjson
import uvloop

from benchmarks.audit import by_verb, writes_an_object
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
QUIET: Final = 3.0  # seconds without a request: nothing that the controller waits for is shorter


@dataclass(frozen=True)
class Burst:
    """One burst. `seconds` from the first create of a mirror to the last of their objects.

    `requests` are the controller's, by `verb resource`, until it asked nothing more, `refused` those of them that the
    API server did not grant, `reconciles` the passes that it took; memory in MiB after all that.
    """

    mirrors: int
    seconds: float
    client_seconds: float
    controller_cpu_seconds: float
    api_server_cpu_seconds: float
    requests: dict[str, int]
    refused: int
    reconciles: float
    most_writes_an_object: int
    most_status_writes: int
    mean_status_writes: float
    resident_mib: float
    peak_mib: float

    @property
    def requests_a_mirror(self) -> float:
        """All requests of the controller but watches, lists and the lease's, divided by the mirrors."""
        asked = sum(count for what, count in self.requests.items() if not what.startswith(("watch", "list")))
        return asked / self.mirrors


def measure(stage: Stage, count: int) -> Burst:
    """Creates so many mirrors on a stage whose controller is ready."""
    audit = stage.audit()
    server, controller = stage.api_server.cpu_seconds(), stage.controller.cpu_seconds()
    uvloop.run(_create(stage, count))
    audit.until(lambda seen: len(_dependents(seen)) >= count * OBJECTS_EACH, "all objects of all mirrors", DEADLINE)
    asked = audit.until_quiet(CONTROLLER_USER, QUIET, DEADLINE)
    mirrors = [each for each in audit.requests if each.resource == MIRROR.plural and each.verb == "create"]
    first = min(each.received for each in mirrors)
    status = _status_writes(asked)
    return Burst(
        mirrors=count,
        seconds=max(each.answered for each in _dependents(audit.requests)) - first,
        client_seconds=max(each.answered for each in mirrors) - first,
        controller_cpu_seconds=stage.controller.cpu_seconds() - controller,
        api_server_cpu_seconds=stage.api_server.cpu_seconds() - server,
        requests=by_verb(asked),
        refused=sum(not each.succeeded for each in asked),
        reconciles=stage.reconciles(),
        most_writes_an_object=max(_object_writes(asked).values()),
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
    """Creations of what belongs to mirrors."""
    return [
        each
        for each in requests
        if each.user == CONTROLLER_USER and each.verb == "create" and each.succeeded and each.resource in _CHILDREN
    ]


def _object_writes(asked: list[Request]) -> Counter[str]:
    return writes_an_object(each for each in asked if each.resource in _CHILDREN)


def _status_writes(asked: list[Request]) -> Counter[str]:
    return writes_an_object(each for each in asked if each.resource == f"{MIRROR.plural}/status")
