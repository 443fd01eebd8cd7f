"""Create Events about mirrors and post them, independently of the reconcile.

Events about cluster-scoped objects are in the namespace `default`.
"""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from common import names
from common.defaults import dict_at
from controller.kubeclient.errors import ClusterError, Forbidden, NotLeader, Unavailable
from controller.model.condition import CACHE_AVAILABLE, NODES_CONFIGURED, READY, existing_conditions
from controller.objects.resources import EVENT
from controller.status import reasons

if TYPE_CHECKING:
    from collections.abc import Iterable

    from common.logs import Logger
    from common.types import Json
    from controller.kubeclient.client import KubeClient
    from controller.model.condition import Reason
    from controller.model.results import ApplyResult


NAMESPACE: Final = "default"
REPORTER: Final = f"{names.GROUP}/registrymirror-controller"
# More Events than 500 mirrors cause at once. Further ones are dropped and logged.
QUEUE_MAX: Final = 2000
# Seconds between tries to post an Event, doubling; twelve tries take half a minute.
FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 5.0
TRIES: Final = 12
NOTE_MAX: Final = 1024  # bytes, a limit of the API
# Reasons of ordinary progress; they post no Event.
_ORDINARY: Final = frozenset(
    reason.name
    for reason in (
        reasons.NO_REPLICA_READY,
        reasons.NODES_PENDING,
        reasons.NODES_NOT_COUNTED,
        reasons.CA_PENDING,
        reasons.RESIZING,
        reasons.CLAIMS_PENDING,
        reasons.NODES_CLEANING,
    )
)
# Reasons of conditions that are not False and need attention.
_WARNINGS: Final = reasons.UNVERIFIED | {
    each.name for each in (reasons.EXPIRES_SOON, reasons.AGENTS_UNSCHEDULABLE, reasons.STORE_UNWRITABLE)
}


@dataclass(frozen=True, slots=True)
class EventRecord:
    """An Event to post. `kind` is Normal or Warning."""

    kind: str
    reason: str
    note: str
    action: str = "Reconcile"

    @classmethod
    def of(cls, reason: Reason, note: str, action: str) -> EventRecord:
        """Return a record with kind and name of the reason."""
        return cls(reason.status, reason.name, note, action)


def transitions(obj: Json, status: Json) -> list[EventRecord]:
    """Return Events for conditions whose status or reason changes with the new status of `obj`.

    Ready repeats another condition while it is False, so only its change to True is an Event.
    """
    known = {condition["type"]: condition for condition in existing_conditions(obj)}
    fewer_nodes = _ready_nodes(status) < _ready_nodes(dict_at(obj, "status"))
    found = []
    for condition in status["conditions"]:
        before = known.get(condition["type"], {})
        if (before.get("status"), before.get("reason")) == (condition["status"], condition["reason"]):
            continue
        if _is_warning(condition) or _has_stopped(condition, before, fewer_nodes=fewer_nodes):
            found.append(EventRecord("Warning", condition["reason"], condition["message"]))
        elif condition["status"] == "True" and _is_news(condition, before):
            found.append(EventRecord("Normal", condition["reason"], condition["message"]))
    return found


def _ready_nodes(status: Json) -> int:
    return int(dict_at(status, "nodes").get("ready") or 0)


def _is_warning(condition: Json) -> bool:
    """Return True if the condition needs attention."""
    if condition["status"] == "False":
        return condition["type"] != READY and condition["reason"] not in _ORDINARY
    return condition["type"] != READY and condition["reason"] in _WARNINGS


def _has_stopped(condition: Json, before: Json, *, fewer_nodes: bool) -> bool:
    """Return True if the cache or a node served before and stops. A node that joins is ordinary progress."""
    if (before.get("status"), condition["status"]) != ("True", "False"):
        return False
    if condition["type"] == NODES_CONFIGURED:
        return condition["reason"] == reasons.NODES_PENDING.name and fewer_nodes
    return bool(condition["type"] == CACHE_AVAILABLE)


def _is_news(condition: Json, before: Json) -> bool:
    """Return True if the condition was False before. Ready is news at its first True as well."""
    return before.get("status") == "False" or (condition["type"] == READY and before.get("status") != "True")


def events_for(applied: ApplyResult, *, first: bool, changed: bool = False) -> list[EventRecord]:
    """Return Events for the changes of one reconcile.

    The `first` creation of all objects is no Event. After a `changed` mirror an update is no repair.
    """
    record = EventRecord.of
    found = [
        record(reasons.CREATED, f"Created {what}, which was missing.", "Create")
        for what in applied.created
        if not first
    ]
    found += [
        record(reasons.UPDATED, f"Updated {what}: {', '.join(fields)}.", "Update")
        if changed
        else record(reasons.REPAIRED, f"Repaired {what}: {', '.join(fields)}.", "Repair")
        for what, fields in applied.repaired.items()
    ]
    found += [
        record(reasons.REPLACED, f"Replacing {what}. Immutable: {', '.join(fields)}.", "Replace")
        for what, fields in applied.replaced.items()
    ]
    found += [
        record(reasons.ADOPTED, f"Adopted {what}, which no controller owned.", "Adopt") for what in applied.adopted
    ]
    found += [
        record(reasons.PRUNED, f"Deleted {what}, which the mirror does not need.", "Delete") for what in applied.pruned
    ]
    if applied.left_over:
        note = f"Deleted objects of an earlier mirror with this name: {', '.join(applied.left_over)}."
        found.append(record(reasons.PRUNED, note, "Delete"))
    return found + _foreign_writes(applied)


def _foreign_writes(applied: ApplyResult) -> list[EventRecord]:
    record = EventRecord.of
    conflicts = [
        record(
            reasons.CONFLICTING_WRITER,
            f"Another writer keeps changing {what}. Repairs become less frequent. Stop that writer; kubectl get"
            " --show-managed-fields names it.",
            "Repair",
        )
        for what in applied.conflicts
    ]
    mutations = [
        record(
            reasons.MUTATED_BY_ADMISSION,
            f"An admission webhook or policy changes {what}: {', '.join(fields)}. Retries become less frequent."
            f" Exclude objects with the label {names.MIRROR_LABEL} from it.",
            "Repair",
        )
        for what, fields in applied.mutated.items()
    ]
    return conflicts + mutations


def incomplete_cleanup(refused: list[str]) -> list[EventRecord]:
    """Return the Event for cache pods of a deleted mirror that the API server refused to delete."""
    note = f"The API server refused to delete: {'; '.join(refused)}. Delete these objects by hand."
    return [EventRecord.of(reasons.CLEANUP_INCOMPLETE, note, "Delete")] if refused else []


@dataclass(slots=True)
class Recorder:
    """Post Events one by one. `instance` names this process."""

    cluster: KubeClient
    instance: str
    log: Logger
    _queue: asyncio.Queue[Json] = field(default_factory=lambda: asyncio.Queue(QUEUE_MAX))

    def record(self, obj: Json, records: Iterable[EventRecord]) -> None:
        """Queue Events about a mirror."""
        for record in records:
            try:
                self._queue.put_nowait(_event(obj, record, self.instance, datetime.now(UTC)))
            except asyncio.QueueFull:
                self.log.warning("event dropped", mirror=obj["metadata"]["name"], note=record.note, why="queue full")

    async def run(self) -> None:
        """Post Events until cancelled. Drop the queued ones then, and log how many."""
        unposted = 0
        try:
            while True:
                unposted = 0
                body = await self._queue.get()
                unposted = 1
                await self._post(body)
        finally:
            if unposted := unposted + self._queue.qsize():
                self.log.warning("event dropped", count=unposted, why="shutdown")

    async def _post(self, body: Json) -> None:
        """Try until the Event is posted. A starting API server is unavailable first, then knows no rights yet."""
        for attempt in range(TRIES):
            try:
                await self.cluster.create(EVENT, NAMESPACE, body)
            except (Unavailable, Forbidden, NotLeader) as error:
                why = str(error)
                await asyncio.sleep(min(2.0**attempt * FIRST_PAUSE, LONGEST_PAUSE))
            except ClusterError as error:
                why = str(error)
                break
            else:
                return
        self.log.warning("event dropped", mirror=body["regarding"]["name"], note=body["note"], why=why)


def _event(obj: Json, record: EventRecord, instance: str, now: datetime) -> Json:
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
        "type": record.kind,
        "reason": record.reason,
        "action": record.action,
        "note": record.note.encode()[:NOTE_MAX].decode(errors="ignore"),
        "regarding": regarding,
        "reportingController": REPORTER,
        "reportingInstance": instance,
    }
