"""Events for a person who asks `kubectl describe rm`: one for each change worth reading.

They are posted beside the reconcile, never in its way. Events about cluster-scoped objects live in `default`.
"""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from common import names
from controller.clock import wait_for_event
from controller.kubeclient.errors import ClusterError, Forbidden, NotLeader, Unavailable
from controller.objects.resources import EVENT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from common.logs import Logger
    from common.types import Json
    from controller.kubeclient.client import KubeClient
    from controller.model.results import ApplyResult


NAMESPACE: Final = "default"
REPORTER: Final = f"{names.GROUP}/registrymirror-controller"
# More than 500 mirrors give at once; past it the log alone has them, and says so.
WAITING_MAX: Final = 2000
# Seconds between tries to post one, doubling, and how many: half a minute in all, after which it would be stale.
FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 5.0
TRIES: Final = 12
NOTE_MAX: Final = 1024  # bytes, by the API
# Ordinary stations on the way: true, and worth no Event of their own.
_ORDINARY: Final = frozenset({"NoReplicaReady", "NodesPending", "CAPending", "Resizing", "ClaimsPending", "Cleaning"})
# Of conditions that are met, and will not be for long.
_WARNINGS: Final = frozenset({"ExpiresSoon"})


@dataclass(frozen=True, slots=True)
class EventRecord:
    """Something worth an Event. `kind` is Normal or Warning."""

    kind: str
    reason: str
    note: str
    action: str = "Reconcile"


def transitions(before: Iterable[Json], after: Iterable[Json]) -> list[EventRecord]:
    """Events for the conditions that turned to another status or reason, but for what is ordinary progress.

    The summary repeats another condition while it is False; it is told only when it becomes True.
    """
    known = {condition.get("type"): condition for condition in before}
    found = []
    for condition in after:
        was = known.get(condition["type"], {})
        if (was.get("status"), was.get("reason")) == (condition["status"], condition["reason"]):
            continue
        if _is_warning(condition):
            found.append(EventRecord("Warning", condition["reason"], condition["message"]))
        elif condition["status"] == "True" and _is_news(condition, was):
            found.append(EventRecord("Normal", condition["reason"], condition["message"]))
    return found


def _is_warning(condition: Json) -> bool:
    """Whether it needs attention: it is not met, but for what is ordinary, or will not be for long."""
    if condition["status"] == "False":
        return condition["type"] != "Ready" and condition["reason"] not in _ORDINARY
    return condition["status"] == "True" and condition["reason"] in _WARNINGS


def _is_news(condition: Json, was: Json) -> bool:
    """Whether it is worth telling that a condition is met: the summary always, another one where it was not."""
    return was.get("status") == "False" or (condition["type"] == "Ready" and was.get("status") != "True")


def events_for(applied: ApplyResult, *, first: bool, changed: bool = False) -> list[EventRecord]:
    """Events for what a pass did. The very first making of everything is told by the status alone.

    `changed` says that the mirror itself was: what follows from that is no repair.
    """
    found = [] if first else [EventRecord("Normal", "Created", f"Made {what}.", "Create") for what in applied.created]
    found += [
        EventRecord("Normal", "Updated", f"Changed {what}: {', '.join(fields)}.", "Update")
        if changed
        else EventRecord("Normal", "Repaired", f"Put {what} right: {', '.join(fields)}.", "Repair")
        for what, fields in applied.repaired.items()
    ]
    found += [
        EventRecord("Normal", "Replaced", f"Making {what} again: {', '.join(fields)} cannot be changed.", "Replace")
        for what, fields in applied.replaced.items()
    ]
    found += [
        EventRecord("Normal", "Adopted", f"Adopted {what}, which had no owner.", "Adopt") for what in applied.adopted
    ]
    found += [
        EventRecord("Normal", "Pruned", f"Deleted {what}, no longer wanted.", "Delete") for what in applied.pruned
    ]
    if applied.cleared:
        note = f"Deleted what an earlier mirror of this name had left, to be made anew: {', '.join(applied.cleared)}."
        found.append(EventRecord("Normal", "Pruned", note, "Delete"))
    found += [
        EventRecord(
            "Warning",
            "ConflictingWriter",
            f"Somebody keeps changing {what}; it is put right more rarely now.",
            "Repair",
        )
        for what in applied.contested
    ]
    found += [
        EventRecord(
            "Warning",
            "MutatedByAdmission",
            f"An admission webhook or policy of somebody's changes {what} as it is stored: {', '.join(fields)}."
            " It stays so, and is tried again ever more rarely.",
            "Repair",
        )
        for what, fields in applied.altered.items()
    ]
    return found


def left_behind(refused: list[str]) -> list[EventRecord]:
    """Of a mirror that was deleted while its storage grew: what it was refused to take along."""
    note = f"To be deleted by hand, as the API server refused: {'; '.join(refused)}."
    return [EventRecord("Warning", "CleanupIncomplete", note, "Delete")] if refused else []


@dataclass(slots=True)
class Recorder:
    """Posts events one after the other. `instance` names this process."""

    cluster: KubeClient
    instance: str
    log: Logger
    _waiting: asyncio.Queue[Json] = field(default_factory=lambda: asyncio.Queue(WAITING_MAX))
    _leaving: asyncio.Event = field(default_factory=asyncio.Event)

    def record(self, obj: Json, occurrences: Iterable[EventRecord]) -> None:
        """Takes events about a mirror; returns at once."""
        for occurrence in occurrences:
            body = _event(obj, occurrence, self.instance, datetime.now(UTC))
            try:
                self._waiting.put_nowait(body)
            except asyncio.QueueFull:
                self.log.warning(
                    "event not posted", mirror=obj["metadata"]["name"], note=occurrence.note, why="too many at once"
                )

    async def forever(self) -> None:
        """Posts until cancelled."""
        while True:
            body = await self._waiting.get()
            await self._post(body)
            self._waiting.task_done()

    async def last_words(self, seconds: float) -> None:
        """Returns when all that was recorded is posted or given up, or after so long, which is said.

        Without the lease, which was given up in order: what was done while it was held stays true, whoever leads now;
        who leads next would not tell of it.
        """
        self._leaving.set()
        try:
            async with asyncio.timeout(seconds):
                await self._waiting.join()
        except TimeoutError:
            # One more is in hand.
            self.log.warning("events not posted", count=self._waiting.qsize() + 1, why="no time was left")

    async def _post(self, body: Json) -> None:
        """Tries until it is posted: an API server that starts is away, and then does not know our rights yet."""
        for attempt in range(TRIES):
            try:
                await self.cluster.create(EVENT, NAMESPACE, body)
            except (Unavailable, Forbidden, NotLeader) as error:
                why = str(error)
                await self._pause(min(2.0**attempt * FIRST_PAUSE, LONGEST_PAUSE))
            except ClusterError as error:
                why = str(error)
                break
            else:
                return
        self.log.warning("event not posted", mirror=body["regarding"]["name"], note=body["note"], why=why)

    async def _pause(self, seconds: float) -> None:
        """Waits so long; a process that is to end has no time for more than the first pause."""
        if self._leaving.is_set():
            await asyncio.sleep(FIRST_PAUSE)
            return
        await wait_for_event(self._leaving, seconds)


def _event(obj: Json, occurrence: EventRecord, instance: str, now: datetime) -> Json:
    metadata = obj["metadata"]
    regarding = {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "name": metadata["name"],
        "uid": metadata["uid"],
        "resourceVersion": metadata["resourceVersion"],
    }
    return {
        "apiVersion": EVENT.api,
        "kind": EVENT.name,
        "metadata": {"name": f"{metadata['name']}.{uuid.uuid4().hex[:16]}", "namespace": NAMESPACE},
        "eventTime": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "type": occurrence.kind,
        "reason": occurrence.reason,
        "action": occurrence.action,
        "note": occurrence.note.encode()[:NOTE_MAX].decode(errors="ignore"),
        "regarding": regarding,
        "reportingController": REPORTER,
        "reportingInstance": instance,
    }
