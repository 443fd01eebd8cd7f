"""Test what pods and Events say about a fault, and when the controller searches for it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.faults.pod_faults import FAULT_MAX, fault_of_pod, is_ready, newest_fault, waits_for_claim
from controller.reconcile.fault_memory import SEARCH_AFTER, FaultMemory

if TYPE_CHECKING:
    from common.types import Json

DUE = datetime(2026, 1, 1, tzinfo=UTC)
STARTING = {"state": {"waiting": {"reason": "ContainerCreating"}}}


def a_pod(*containers: Json, **status: object) -> Json:
    return {"metadata": {"name": "x-0"}, "status": {"containerStatuses": list(containers), **status}}


def a_condition(kind: str, status: str, message: str = "") -> Json:
    return {"type": kind, "status": status, "message": message, "reason": "Unschedulable"}


@pytest.mark.parametrize(
    ("pod", "fault"),
    [
        ({"metadata": {"name": "x"}}, ""),
        (a_pod(), ""),
        (a_pod(STARTING), ""),
        (a_pod({"state": {"running": {}}, "ready": False}), ""),
        (
            a_pod(conditions=[a_condition("PodScheduled", "False", "0/1 nodes are available: 1 Too many pods.")]),
            "FailedScheduling: 0/1 nodes are available: 1 Too many pods.",
        ),
        (
            a_pod({"state": {"waiting": {"reason": "ErrImagePull", "message": "not\nfound"}}}),
            "ErrImagePull: not found.",
        ),
        (
            a_pod(
                {
                    "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s restarting"}},
                    "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
                }
            ),
            "CrashLoopBackOff: OOMKilled, exit code 137.",
        ),
        (
            a_pod({"state": {"terminated": {"exitCode": 1, "reason": "Error", "message": "No space left.\n"}}}),
            "Terminated: exit code 1: No space left.",
        ),
        (
            a_pod(
                STARTING,
                initContainerStatuses=[
                    {"state": {"terminated": {"exitCode": 0, "reason": "Completed"}}, "ready": True},
                    {
                        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s restarting"}},
                        "lastState": {"terminated": {"exitCode": 3, "reason": "Error", "message": "no iptables"}},
                    },
                    {"state": {"waiting": {"reason": "PodInitializing"}}},
                ],
            ),
            "CrashLoopBackOff: exit code 3: no iptables.",
        ),
        (
            a_pod(
                {"state": {"waiting": {"reason": "ErrImagePull", "message": "not found"}}},
                initContainerStatuses=[
                    {
                        "state": {"running": {}},
                        "lastState": {"terminated": {"exitCode": 255, "reason": "Unknown"}},
                        "ready": True,
                    },
                ],
            ),
            "ErrImagePull: not found.",
        ),
        (
            a_pod(
                {"state": {"terminated": {"exitCode": 137, "reason": "Error"}}},
                phase="Failed",
                reason="Evicted",
                message="The node was low on resource: ephemeral-storage. ",
            ),
            "Evicted: The node was low on resource: ephemeral-storage.",
        ),
        (
            a_pod(phase="Failed", reason="UnexpectedAdmissionError", message="Allocate failed"),
            "UnexpectedAdmissionError: Allocate failed.",
        ),
        (a_pod(phase="Failed", message="Allocate failed"), "Failed: Allocate failed."),
        (
            a_pod({"state": {"terminated": {"exitCode": 2, "reason": "Error"}}}, phase="Failed"),
            "Terminated: exit code 2.",
        ),
    ],
)
def test_fault_stands_in_the_status_of_the_pod(pod: Json, fault: str) -> None:
    assert fault_of_pod(pod) == fault


@given(st.text(max_size=2000))
def test_words_of_others_become_one_line(words: str) -> None:
    found = fault_of_pod(a_pod({"state": {"waiting": {"reason": "X", "message": words}}}))
    assert found.isprintable()
    assert len(found) <= FAULT_MAX + 1
    assert found.endswith(".")


def test_newest_event_counts() -> None:
    """Old and new kinds of Events have their times in different fields."""
    early, late = "2026-01-01T00:00:00Z", "2026-01-01T00:00:09Z"
    old = {"reason": "FailedMount", "message": "first", "lastTimestamp": early, "metadata": {"creationTimestamp": late}}
    new = {"reason": "FailedMount", "message": "second", "eventTime": early, "metadata": {}}
    new["series"] = {"lastObservedTime": late}
    assert newest_fault([]) == ""
    assert newest_fault([new, old]) == newest_fault([old, new]) == "FailedMount: second."


def test_terminating_pod_has_no_fault() -> None:
    assert not is_ready(a_pod(STARTING), DUE)
    assert is_ready({"metadata": {"deletionTimestamp": DUE.isoformat()}}, DUE + timedelta(seconds=29))
    assert is_ready(a_pod(conditions=[a_condition("Ready", "True")]), DUE)


@pytest.mark.parametrize(
    ("finalizers", "words"),
    [
        ([], "kubelet does not confirm it. If the node is gone,"),
        (["example.com/hold"], "hold it: example.com/hold."),
    ],
)
def test_pod_that_stays_terminating_is_named(finalizers: list[str], words: str) -> None:
    """K4: the pods of a node that died keep the status that its kubelet has written."""
    metadata = {"name": "x-0", "deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": finalizers}
    pod = {**a_pod({"state": {"running": {}}}), "metadata": metadata}
    assert not is_ready(pod, DUE + timedelta(seconds=30))
    assert fault_of_pod(pod).startswith("Terminating: its deletion was due at 2026-01-01T00:00:00Z, and ")
    assert words in fault_of_pod(pod)


def test_pod_waits_for_its_claim() -> None:
    words = "pod has unbound immediate PersistentVolumeClaims"
    assert waits_for_claim(a_pod(conditions=[a_condition("PodScheduled", "False", words)]))
    assert not waits_for_claim(a_pod(conditions=[a_condition("PodScheduled", "False", "no room")]))
    assert not waits_for_claim(a_pod())


def test_search_begins_after_some_seconds() -> None:
    """While pods lack, searches become less frequent. Then everything is forgotten."""
    memory = FaultMemory()
    assert memory.next_search(0.0) is None
    assert not memory.is_due(lacking=True, at_once=False, now=0.0)
    assert memory.next_search(0.0) == SEARCH_AFTER
    assert memory.is_due(lacking=True, at_once=False, now=SEARCH_AFTER)
    memory.note("FailedCreate.", SEARCH_AFTER)
    assert not memory.is_due(lacking=True, at_once=True, now=SEARCH_AFTER + 1)
    assert memory.fault == "FailedCreate."
    assert memory.next_search(40.0) == 40.0
    assert memory.next_search(4000.0) == 60.0
    assert not memory.is_due(lacking=False, at_once=True, now=41.0)
    assert (memory.fault, memory.next_search(41.0)) == ("", None)
    assert memory.is_due(lacking=True, at_once=True, now=42.0)
