"""Measure drift repair: the time until a deleted or changed object is as desired again."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any, Final

import uvloop

from benchmarks.client import Client, connected
from benchmarks.subjects import mirror_name
from common import names
from controller.objects.resources import DAEMON_SET, SECRET, SERVICE, STATEFUL_SET, Kind
from tests.localcluster.system import NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.stage import Stage
    from common.types import Json


TRIES: Final = 20  # each on another mirror, because the controller slows repeated repairs of one object
DEADLINE: Final = 30.0  # seconds
PAUSE: Final = 0.1  # seconds between two tries, for their effects (a Secret rolls its StatefulSet)
DELETED: Final = (SERVICE, STATEFUL_SET, DAEMON_SET, SECRET)


@dataclass(frozen=True)
class Change:
    """A change by a user, and the condition for its repair."""

    title: str
    kind: Kind
    operations: list[Json]
    is_repaired: Callable[[Json], bool]


@dataclass(frozen=True)
class Repair:
    """Times until a repair, in milliseconds, as the client of the change sees them.

    `milliseconds` count from the answer to the change. They are too short if a busy client reads the answer late.
    `since_sent` counts from the request and is too long.
    """

    title: str
    milliseconds: list[float]
    since_sent: list[float]

    @property
    def median(self) -> float:
        """Return the median."""
        return median(self.milliseconds)

    @property
    def worst(self) -> float:
        """Return the longest time."""
        return max(self.milliseconds)


def _pod(obj: Json) -> Json:
    pod: Json = obj["spec"]["template"]["spec"]
    return pod


def _ports(obj: Json) -> list[int]:
    return [each["port"] for each in obj["spec"]["ports"]]


_CONTAINERS: Final = "/spec/template/spec/containers"
CHANGES: Final = (
    Change(
        "Service port 443 to 8443",
        SERVICE,
        [{"op": "replace", "path": "/spec/ports/0/port", "value": 8443}],
        lambda obj: _ports(obj) == [443],
    ),
    Change(
        "Service port added",
        SERVICE,
        [{"op": "add", "path": "/spec/ports/-", "value": {"name": "more", "port": 81, "protocol": "TCP"}}],
        lambda obj: _ports(obj) == [443],
    ),
    Change(
        "container added",
        STATEFUL_SET,
        [{"op": "add", "path": f"{_CONTAINERS}/-", "value": {"name": "more", "image": "example.com/more"}}],
        lambda obj: len(_pod(obj)["containers"]) == 1,
    ),
    Change(
        "variable added",
        STATEFUL_SET,
        [{"op": "add", "path": f"{_CONTAINERS}/0/env/-", "value": {"name": "MORE", "value": "1"}}],
        lambda obj: all(each["name"] != "MORE" for each in _pod(obj)["containers"][0]["env"]),
    ),
)


def measure(stage: Stage, mirrors: int) -> list[Repair]:
    """Delete objects of each kind and change some, of the first 20 mirrors."""
    return uvloop.run(_measure(stage, min(mirrors, TRIES)))


async def _measure(stage: Stage, tries: int) -> list[Repair]:
    async with connected(stage.cluster) as client:
        found = []
        for kind in DELETED:
            times = [await _deleted(client, kind, number) for number in range(tries)]
            found.append(_repair(f"{kind.name} deleted", times))
        for change in CHANGES:
            times = [await _changed(client, change, number) for number in range(tries)]
            found.append(_repair(change.title, times))
        return found


def _repair(title: str, times: list[tuple[float, float]]) -> Repair:
    return Repair(title, [after for after, _ in times], [since for _, since in times])


async def _deleted(client: Client, kind: Kind, number: int) -> tuple[float, float]:
    path = kind.path(NAMESPACE, _object(number))
    uid = (await client.get(path))["metadata"]["uid"]
    return await _timed(client, kind, number, client.delete(path), lambda obj: obj["metadata"]["uid"] != uid)


async def _changed(client: Client, change: Change, number: int) -> tuple[float, float]:
    request = client.patch(change.kind.path(NAMESPACE, _object(number)), change.operations)
    return await _timed(client, change.kind, number, request, change.is_repaired)


async def _timed(
    client: Client, kind: Kind, number: int, request: Any, is_repaired: Callable[[Json], bool]
) -> tuple[float, float]:
    """Return the milliseconds until a watch shows the repaired object, since the answer and since the request."""
    await asyncio.sleep(PAUSE)
    name = _object(number)
    version = (await client.get(kind.path(NAMESPACE, name)))["metadata"]["resourceVersion"]
    async with client.watch(kind.path(NAMESPACE), name, version) as events:
        event = asyncio.create_task(_first_repaired(events, is_repaired))
        sent = time.perf_counter()
        await request
        answered = time.perf_counter()
        repaired = await asyncio.wait_for(event, DEADLINE)
        return (repaired - answered) * 1000, (repaired - sent) * 1000


async def _first_repaired(events: Any, is_repaired: Callable[[Json], bool]) -> float:
    """Return the time of the first event that shows the object repaired after a change."""
    broken = False
    async for event in events:
        gone = event["type"] == "DELETED"
        if not gone and is_repaired(event["object"]):
            if broken:
                return time.perf_counter()
        else:
            broken = True
    raise TimeoutError("the watch ended before the object was repaired")


def _object(number: int) -> str:
    return names.object_name(mirror_name(number))
