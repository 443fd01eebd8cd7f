"""Test which changes post an Event, and the recorder."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from datetime import UTC, datetime
from io import StringIO
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.logs import logger
from controller.kubeclient.errors import Unavailable
from controller.model.results import ApplyResult
from controller.status import events
from controller.status.events import NOTE_MAX, EventRecord, Recorder, _event, events_for, transitions
from tests.support.controller import UID, stored

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from common.types import Json
    from controller.kubeclient.client import KubeClient
    from controller.objects.resources import Kind


class Api:
    """An API server that takes Events once it is available."""

    def __init__(self) -> None:
        self.available, self.tries = False, 0
        self.posted: list[str] = []

    async def create(self, _: Kind, __: str, body: Json) -> None:
        """Take an Event, or raise Unavailable."""
        self.tries += 1
        if not self.available:
            raise Unavailable("away")
        self.posted.append(body["note"])

    create_unfenced = create


def _condition(kind: str, status: str, reason: str) -> Json:
    return {"type": kind, "status": status, "reason": reason, "message": f"because of {reason}"}


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        # False and no ordinary progress
        (None, ("Accepted", "False", "InvalidSpec"), "Warning"),
        (("Accepted", "True", "Valid"), ("Accepted", "False", "InvalidSpec"), "Warning"),
        (("CredentialsAvailable", "False", "SecretMissing"), ("CredentialsAvailable", "False", "Other"), "Warning"),
        (None, ("CacheAvailable", "False", "ObjectNotOwned"), "Warning"),
        (("StorageResized", "True", "Granted"), ("StorageResized", "False", "ResizeRefused"), "Warning"),
        # A cache that served and stops
        (("CacheAvailable", "True", "AllReplicasReady"), ("CacheAvailable", "False", "NoReplicaReady"), "Warning"),
        (("CacheAvailable", "False", "NoReplicaReady"), ("CacheAvailable", "True", "AllReplicasReady"), "Normal"),
        # Ordinary progress
        (("NodesConfigured", "True", "AllNodesReady"), ("NodesConfigured", "False", "NodesNotCounted"), None),
        (("NodesConfigured", "True", "AllNodesReady"), ("NodesConfigured", "True", "NodesUseUpstream"), None),
        (("NodesConfigured", "True", "AllNodesReady"), ("NodesConfigured", "False", "Cleaning"), None),
        (None, ("CacheAvailable", "False", "NoReplicaReady"), None),
        (None, ("NodesConfigured", "False", "NodesPending"), None),
        (None, ("CacheAvailable", "False", "CAPending"), None),
        (("StorageResized", "True", "Granted"), ("StorageResized", "False", "Resizing"), None),
        (None, ("StorageResized", "Unknown", "ClaimsPending"), None),
        (None, ("UpstreamReachable", "Unknown", "NotAsked"), None),
        # True, and needs attention
        (("CertificateValid", "True", "Valid"), ("CertificateValid", "True", "ExpiresSoon"), "Warning"),
        (("CertificateValid", "True", "ExpiresSoon"), ("CertificateValid", "True", "Valid"), None),
        # True after False
        (("Accepted", "False", "InvalidSpec"), ("Accepted", "True", "Valid"), "Normal"),
        (("CredentialsAvailable", "False", "SecretMissing"), ("CredentialsAvailable", "True", "Found"), "Normal"),
        (("StorageResized", "False", "Resizing"), ("StorageResized", "True", "Granted"), "Normal"),
        # True from the beginning
        (None, ("Accepted", "True", "Valid"), None),
        (("CredentialsAvailable", "True", "NotRequired"), ("CredentialsAvailable", "True", "Found"), None),
        (("StorageResized", "Unknown", "ClaimsPending"), ("StorageResized", "True", "Granted"), None),
        # Unchanged
        (("Accepted", "False", "InvalidSpec"), ("Accepted", "False", "InvalidSpec"), None),
        # Ready
        (None, ("Ready", "True", "Ready"), "Normal"),
        (("Ready", "False", "NodesPending"), ("Ready", "True", "Ready"), "Normal"),
        (("Ready", "True", "Ready"), ("Ready", "False", "InvalidSpec"), None),
        (("Ready", "False", "NodesPending"), ("Ready", "False", "InvalidSpec"), None),
        (("Ready", "True", "Ready"), ("Ready", "True", "Ready"), None),
    ],
)
def test_transitions_that_post_events(
    before: tuple[str, str, str] | None, after: tuple[str, str, str], kind: str | None
) -> None:
    known = [_condition(*before)] if before else []
    expected = [] if kind is None else [EventRecord(kind, after[2], f"because of {after[2]}")]
    assert transitions({"status": {"conditions": known}}, {"conditions": [_condition(*after)]}) == expected


@pytest.mark.parametrize(
    ("before", "after", "kinds"),
    [
        ({"desired": 2, "ready": 2}, {"desired": 2, "ready": 1}, ["Warning"]),
        ({"desired": 2, "ready": 2}, {"desired": 3, "ready": 2}, []),
    ],
)
def test_lost_node_is_warning(before: Json, after: Json, kinds: list[str]) -> None:
    """A node that stops using the mirror posts a Warning; a node that joins posts nothing."""
    known = {"nodes": before, "conditions": [_condition("NodesConfigured", "True", "AllNodesReady")]}
    status = {"nodes": after, "conditions": [_condition("NodesConfigured", "False", "NodesPending")]}
    assert [record.kind for record in transitions({"status": known}, status)] == kinds


def test_changes_post_events() -> None:
    applied = ApplyResult(
        created=["Service a"],
        repaired={"Service b": ["spec.ports", "metadata.labels.app"]},
        adopted=["Secret c"],
        replaced={"StatefulSet d": ["spec.selector"]},
        pruned=["DaemonSet e"],
        conflicts=["Service f"],
        mutated={"Service g": ["spec.sessionAffinity"]},
    )
    records = [(record.kind, record.reason, record.note) for record in events_for(applied, first=False)]
    assert records == [
        ("Normal", "Created", "Created Service a, which was missing."),
        ("Normal", "Repaired", "Repaired Service b: spec.ports, metadata.labels.app."),
        ("Normal", "Replaced", "Replacing StatefulSet d. Immutable: spec.selector."),
        ("Normal", "Adopted", "Adopted Secret c, which no controller owned."),
        ("Normal", "Pruned", "Deleted DaemonSet e, which the mirror does not need."),
        (
            "Warning",
            "ConflictingWriter",
            (
                "Another writer keeps changing Service f. Repairs become less frequent. Stop that writer; kubectl get"
                " --show-managed-fields names it."
            ),
        ),
        (
            "Warning",
            "MutatedByAdmission",
            (
                "An admission webhook or policy changes Service g: spec.sessionAffinity. Retries become less frequent."
                " Exclude objects with the label mirror from it."
            ),
        ),
    ]


def test_first_creation_posts_no_event() -> None:
    assert events_for(ApplyResult(created=["Service a", "Secret b"]), first=True) == []
    assert events_for(ApplyResult(), first=False) == [], "nothing was changed"


def test_event_regards_mirror_in_default_namespace() -> None:
    made = _event(stored(), EventRecord("Normal", "Ready", "It works."), "pod_1", datetime(2026, 1, 1, tzinfo=UTC))
    name = made["metadata"].pop("name")
    assert name.startswith("docker.")
    assert made == {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"namespace": "default"},
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "type": "Normal",
        "reason": "Ready",
        "action": "Reconcile",
        "note": "It works.",
        "regarding": {
            "apiVersion": "k8s.osp.tech/v1",
            "kind": "RegistryMirror",
            "name": "docker",
            "uid": UID,
            "resourceVersion": "1",
        },
        "reportingController": "k8s.osp.tech/registrymirror-controller",
        "reportingInstance": "pod_1",
    }


@given(st.text(st.sampled_from("aäµ\u6f22\U0001f600"), min_size=200, max_size=1200))
def test_long_note_is_cut_to_bytes(note: str) -> None:
    """The API limits bytes, and a note may quote a user."""
    cut = _event(stored(), EventRecord("Normal", "Ready", note), "x", datetime(2026, 1, 1, tzinfo=UTC))["note"]
    assert len(cut.encode()) <= NOTE_MAX
    assert note.startswith(cut)
    assert len(cut.encode()) > NOTE_MAX - 4 or cut == note


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
def output() -> StringIO:
    """Return the log of the recorder."""
    return StringIO()


@pytest.fixture
async def recorder(api: Api, output: StringIO) -> AsyncIterator[Recorder]:
    """Return a running recorder with three Events."""
    recorder = Recorder(cast("KubeClient", api), "test", logger("INFO", "test", output))
    recorder.record(stored(), [EventRecord("Normal", "Told", str(number), "Tell") for number in range(3)])
    running = asyncio.create_task(recorder.run())
    async with asyncio.timeout(10):
        while api.tries < 2:  # noqa: ASYNC110 (waits for a state, not an event)
            await asyncio.sleep(0.01)
    yield recorder
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


@pytest.mark.usefixtures("recorder")
async def test_recorder_retries_until_posted(api: Api, output: StringIO) -> None:
    api.available = True
    async with asyncio.timeout(10):
        while len(api.posted) < 3:  # noqa: ASYNC110 (waits for a state, not an event)
            await asyncio.sleep(0.01)
    assert api.posted == ["0", "1", "2"]
    assert output.getvalue() == ""


async def test_shutdown_drops_queue_and_counts_it(api: Api, output: StringIO) -> None:
    recorder = Recorder(cast("KubeClient", api), "test", logger("INFO", "test", output))
    recorder.record(stored(), [EventRecord("Normal", "Told", str(number), "Tell") for number in range(3)])
    running = asyncio.create_task(recorder.run())
    await asyncio.sleep(0)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    line = json.loads(output.getvalue())
    assert (line["event"], line["count"], api.posted) == ("event dropped", 3, [])


async def test_full_queue_drops_event(api: Api, output: StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "QUEUE_MAX", 1)
    recorder = Recorder(cast("KubeClient", api), "test", logger("INFO", "test", output))
    recorder.record(stored(), [EventRecord("Normal", "Told", each) for each in ("first", "second")])
    line = json.loads(output.getvalue())
    assert (line["event"], line["note"], line["why"]) == ("event dropped", "second", "queue full")
