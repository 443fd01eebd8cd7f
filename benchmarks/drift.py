"""Drift: what somebody deletes or changes is put right. Timed from the answer to that somebody."""

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


TRIES: Final = 20  # each on a mirror of its own: repairs of one object over and over are slowed down on purpose
DEADLINE: Final = 30.0  # seconds
PAUSE: Final = 0.1  # seconds between two tries, for what the last one set in motion (a Secret rolls its StatefulSet)
DELETED: Final = (SERVICE, STATEFUL_SET, DAEMON_SET, SECRET)


@dataclass(frozen=True)
class Change:
    """Something a person may do to an object, and what is asked of it once it is mended."""

    title: str
    kind: Kind
    operations: list[Json]
    mended: Callable[[Json], bool]


@dataclass(frozen=True)
class Mended:
    """Times until something was right again, in milliseconds, as the client that did the harm saw it.

    `milliseconds` count from the answer to it, `since_sent` from its request: on a busy machine the client may read the
    answer late, and the first is then too short. The truth lies between the two.
    """

    title: str
    milliseconds: list[float]
    since_sent: list[float]

    @property
    def median(self) -> float:
        """Half of the tries were faster."""
        return median(self.milliseconds)

    @property
    def worst(self) -> float:
        """The slowest of them."""
        return max(self.milliseconds)


def _pod(live: Json) -> Json:
    pod: Json = live["spec"]["template"]["spec"]
    return pod


def _ports(live: Json) -> list[int]:
    return [each["port"] for each in live["spec"]["ports"]]


_CONTAINERS: Final = "/spec/template/spec/containers"
CHANGES: Final = (
    Change(
        "Service port 443 to 8443",
        SERVICE,
        [{"op": "replace", "path": "/spec/ports/0/port", "value": 8443}],
        lambda live: _ports(live) == [443],
    ),
    Change(
        "Service port added",
        SERVICE,
        [{"op": "add", "path": "/spec/ports/-", "value": {"name": "more", "port": 81, "protocol": "TCP"}}],
        lambda live: _ports(live) == [443],
    ),
    Change(
        "container added",
        STATEFUL_SET,
        [{"op": "add", "path": f"{_CONTAINERS}/-", "value": {"name": "more", "image": "example.com/more"}}],
        lambda live: len(_pod(live)["containers"]) == 1,
    ),
    Change(
        "variable added",
        STATEFUL_SET,
        [{"op": "add", "path": f"{_CONTAINERS}/0/env/-", "value": {"name": "MORE", "value": "1"}}],
        lambda live: all(each["name"] != "MORE" for each in _pod(live)["containers"][0]["env"]),
    ),
)


def measure(stage: Stage, mirrors: int) -> list[Mended]:
    """Deletes objects of each kind, and changes some, of the first 20 mirrors."""
    return uvloop.run(_measure(stage, min(mirrors, TRIES)))


async def _measure(stage: Stage, tries: int) -> list[Mended]:
    async with connected(stage.cluster) as client:
        found = []
        for kind in DELETED:
            times = [await _deleted(client, kind, number) for number in range(tries)]
            found.append(_mended(f"{kind.name} deleted", times))
        for change in CHANGES:
            times = [await _changed(client, change, number) for number in range(tries)]
            found.append(_mended(change.title, times))
        return found


def _mended(title: str, times: list[tuple[float, float]]) -> Mended:
    return Mended(title, [after for after, _ in times], [since for _, since in times])


async def _deleted(client: Client, kind: Kind, number: int) -> tuple[float, float]:
    path = kind.path(NAMESPACE, _object(number))
    uid = (await client.get(path))["metadata"]["uid"]
    return await _timed(client, kind, number, client.delete(path), lambda live: live["metadata"]["uid"] != uid)


async def _changed(client: Client, change: Change, number: int) -> tuple[float, float]:
    doing = client.patch(change.kind.path(NAMESPACE, _object(number)), change.operations)
    return await _timed(client, change.kind, number, doing, change.mended)


async def _timed(
    client: Client, kind: Kind, number: int, doing: Any, mended: Callable[[Json], bool]
) -> tuple[float, float]:
    """Milliseconds until a watch shows the object mended: since the answer to what is done, and since its request."""
    await asyncio.sleep(PAUSE)
    name = _object(number)
    version = (await client.get(kind.path(NAMESPACE, name)))["metadata"]["resourceVersion"]
    async with client.watch(kind.path(NAMESPACE), name, version) as events:
        seen = asyncio.create_task(_first(events, mended))
        sent = time.perf_counter()
        await doing
        answered = time.perf_counter()
        right = await asyncio.wait_for(seen, DEADLINE)
        return (right - answered) * 1000, (right - sent) * 1000


async def _first(events: Any, mended: Callable[[Json], bool]) -> float:
    """When the first event came that shows the object changed and mended again."""
    broken = False
    async for event in events:
        gone = event["type"] == "DELETED"
        if not gone and mended(event["object"]):
            if broken:
                return time.perf_counter()
        else:
            broken = True
    raise TimeoutError("the watch ended before the object was mended")


def _object(number: int) -> str:
    return names.object_name(mirror_name(number))
