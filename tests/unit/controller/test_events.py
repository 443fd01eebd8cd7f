"""Which changes are worth an Event, and that the API takes it."""

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


class Door:
    """Takes Events once it is open."""

    def __init__(self) -> None:
        self.open, self.tries = False, 0
        self.posted: list[str] = []

    async def create(self, _: Kind, __: str, body: Json) -> None:
        """With the lease and without it."""
        self.tries += 1
        if not self.open:
            raise Unavailable("away")
        self.posted.append(body["note"])

    create_unfenced = create


def _condition(kind: str, status: str, reason: str) -> Json:
    return {"type": kind, "status": status, "reason": reason, "message": f"because of {reason}"}


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        # False, and not a station on the way: a person may have to act
        (None, ("Accepted", "False", "InvalidSpec"), "Warning"),
        (("Accepted", "True", "Valid"), ("Accepted", "False", "InvalidSpec"), "Warning"),
        (("CredentialsAvailable", "False", "SecretMissing"), ("CredentialsAvailable", "False", "Other"), "Warning"),
        (None, ("CacheAvailable", "False", "ObjectNotOwned"), "Warning"),
        (("StorageResized", "True", "Granted"), ("StorageResized", "False", "ResizeRefused"), "Warning"),
        # Stations on the way
        (None, ("CacheAvailable", "False", "NoReplicaReady"), None),
        (None, ("NodesConfigured", "False", "NodesPending"), None),
        (None, ("CacheAvailable", "False", "CAPending"), None),
        (("StorageResized", "True", "Granted"), ("StorageResized", "False", "Resizing"), None),
        (None, ("StorageResized", "Unknown", "ClaimsPending"), None),
        (None, ("UpstreamReachable", "Unknown", "NotProbed"), None),
        # Met, and not for long
        (("CertificateValid", "True", "Valid"), ("CertificateValid", "True", "ExpiresSoon"), "Warning"),
        (("CertificateValid", "True", "ExpiresSoon"), ("CertificateValid", "True", "Valid"), None),
        # Good news after bad
        (("Accepted", "False", "InvalidSpec"), ("Accepted", "True", "Valid"), "Normal"),
        (("CredentialsAvailable", "False", "SecretMissing"), ("CredentialsAvailable", "True", "Found"), "Normal"),
        (("StorageResized", "False", "Resizing"), ("StorageResized", "True", "Granted"), "Normal"),
        # Good from the beginning, or good still
        (None, ("Accepted", "True", "Valid"), None),
        (("CredentialsAvailable", "True", "NotRequired"), ("CredentialsAvailable", "True", "Found"), None),
        (("StorageResized", "Unknown", "ClaimsPending"), ("StorageResized", "True", "Granted"), None),
        # The same as before
        (("Accepted", "False", "InvalidSpec"), ("Accepted", "False", "InvalidSpec"), None),
        # The summary
        (None, ("Ready", "True", "Ready"), "Normal"),
        (("Ready", "False", "NodesPending"), ("Ready", "True", "Ready"), "Normal"),
        (("Ready", "True", "Ready"), ("Ready", "False", "InvalidSpec"), None),
        (("Ready", "False", "NodesPending"), ("Ready", "False", "InvalidSpec"), None),
        (("Ready", "True", "Ready"), ("Ready", "True", "Ready"), None),
    ],
)
def test_which_turns_of_a_condition_are_told(
    before: tuple[str, str, str] | None, after: tuple[str, str, str], told: str | None
) -> None:
    known = [_condition(*before)] if before else []
    expected = [] if told is None else [EventRecord(told, after[2], f"because of {after[2]}")]
    assert transitions(known, [_condition(*after)]) == expected


def test_every_deed_is_told_with_what_was_done() -> None:
    applied = ApplyResult(
        created=["Service a"],
        repaired={"Service b": ["spec.ports", "metadata.labels.app"]},
        adopted=["Secret c"],
        replaced={"StatefulSet d": ["spec.selector"]},
        pruned=["DaemonSet e"],
        contested=["Service f"],
        altered={"Service g": ["spec.sessionAffinity"]},
    )
    told = [(occurrence.kind, occurrence.reason, occurrence.note) for occurrence in events_for(applied, first=False)]
    assert told == [
        ("Normal", "Created", "Made Service a."),
        ("Normal", "Repaired", "Put Service b right: spec.ports, metadata.labels.app."),
        ("Normal", "Replaced", "Making StatefulSet d again: spec.selector cannot be changed."),
        ("Normal", "Adopted", "Adopted Secret c, which had no owner."),
        ("Normal", "Pruned", "Deleted DaemonSet e, no longer wanted."),
        ("Warning", "ConflictingWriter", "Somebody keeps changing Service f; it is put right more rarely now."),
        (
            "Warning",
            "MutatedByAdmission",
            (
                "An admission webhook or policy of somebody's changes Service g as it is stored: spec.sessionAffinity."
                " It stays so, and is tried again ever more rarely."
            ),
        ),
    ]


def test_the_first_making_of_everything_is_no_event() -> None:
    assert events_for(ApplyResult(created=["Service a", "Secret b"]), first=True) == []


def test_nothing_done_is_nothing_told() -> None:
    assert events_for(ApplyResult(), first=False) == []


def test_an_event_is_about_the_mirror_and_lives_in_default() -> None:
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
def test_a_long_note_is_cut_to_the_bytes_that_the_api_takes(note: str) -> None:
    """The API counts bytes, and a note may quote what a person wrote."""
    cut = _event(stored(), EventRecord("Normal", "Ready", note), "x", datetime(2026, 1, 1, tzinfo=UTC))["note"]
    assert len(cut.encode()) <= NOTE_MAX
    assert note.startswith(cut)
    assert len(cut.encode()) > NOTE_MAX - 4 or cut == note


@pytest.fixture
async def door() -> Door:
    return Door()


@pytest.fixture
def said() -> StringIO:
    """What is logged."""
    return StringIO()


@pytest.fixture
async def recorder(door: Door, said: StringIO) -> AsyncIterator[Recorder]:
    """One with three Events, that has failed to post the first for a while and now rests for seconds."""
    recorder = Recorder(cast("KubeClient", door), "test", logger("INFO", "test", said))
    recorder.record(stored(), [EventRecord("Normal", "Told", str(number), "Tell") for number in range(3)])
    running = asyncio.create_task(recorder.forever())
    async with asyncio.timeout(10):
        while door.tries < 6:  # noqa: ASYNC110 (a state is waited for, not an event)
            await asyncio.sleep(0.01)
    yield recorder
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def test_at_the_end_what_waits_is_posted_without_the_pauses_of_before(door: Door, recorder: Recorder) -> None:
    door.open = True
    began = asyncio.get_running_loop().time()
    await recorder.last_words(2.0)
    assert door.posted == ["0", "1", "2"]
    assert asyncio.get_running_loop().time() - began < 1.8, "it rested for 3 s"


async def test_what_there_is_no_time_for_at_the_end_is_said(
    door: Door, recorder: Recorder, said: StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "FIRST_PAUSE", 0.5)
    before = door.tries
    await recorder.last_words(2.6)
    assert 3 <= door.tries - before <= 6, "it tries on, and not without a pause"
    line = json.loads(said.getvalue())
    assert (line["event"], line["count"]) == ("events not posted", 3)
