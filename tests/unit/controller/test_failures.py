"""Test which failures become a condition, and when it becomes True."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from controller.kubeclient.errors import Conflict, NotLeader, Unavailable
from controller.model.observation import Observation
from controller.model.results import ApplyResult
from controller.status.failures import FAILURES, SLOW_FAILURE, STUCK_AFTER, Failure, persistent_failure, stuck_deletions
from controller.status.status import status_of, status_of_failing, status_of_invalid
from tests.support.controller import LATER, NOW, inputs, parsed, stored

if TYPE_CHECKING:
    from common.types import Json

SINCE = "2026-06-01T11:00:00Z"
REFUSED = Unavailable("failed calling webhook", 500)


@pytest.mark.parametrize(
    ("error", "in_a_row", "seconds", "reason"),
    [
        (REFUSED, 1, 0.1, None),
        (REFUSED, FAILURES, 0.1, "ReconcileFailed"),
        (REFUSED, 1, SLOW_FAILURE, "ReconcileFailed"),
        (Conflict("faster", 409), 100, 100.0, None),
        (NotLeader("no lease"), 100, 100.0, None),
        (TypeError("oops"), 1, 0.0, "InternalError"),
    ],
)
def test_failure_reason(error: Exception, in_a_row: int, seconds: float, reason: str | None) -> None:
    failure = persistent_failure(error, in_a_row, seconds)
    assert (failure.reason if failure else None) == reason


def test_stuck_deletion_names_finalizers() -> None:
    """The duration is measured by this process: the API server's clock may differ."""
    assert stuck_deletions(ApplyResult(deleting={"Secret a": (SINCE, ["example.com/hold"], STUCK_AFTER - 1)})) is None
    failure = stuck_deletions(
        ApplyResult(deleting={"Secret a": (SINCE, ["example.com/hold"], STUCK_AFTER), "Service b": (SINCE, [], 0.0)})
    )
    assert failure is not None
    assert failure.reason == "ObjectTerminating"
    assert "Secret a is being deleted since" in failure.message
    assert "example.com/hold" in failure.message
    assert "Service b" not in failure.message
    assert stuck_deletions(None) is None


def _reasons(status: Json) -> dict[str, tuple[str, str]]:
    return {each["type"]: (each["status"], each["reason"]) for each in status["conditions"]}


def test_reconciled_appears_with_first_failure() -> None:
    never = status_of(stored(), parsed(), Observation(inputs(), applied=ApplyResult()), "mirrors", NOW)
    assert "Reconciled" not in _reasons(never)
    failing = status_of_failing({**stored(), "status": never}, Failure("InternalError", "A bug."), NOW)
    assert _reasons(failing)["Reconciled"] == ("False", "InternalError")
    assert _reasons(failing)["Ready"] == ("False", "InternalError")
    assert _reasons(failing)["Accepted"] == _reasons(never)["Accepted"], "other conditions stay"
    obj = {**stored(), "status": failing}
    over = status_of(obj, parsed(), Observation(inputs(), applied=ApplyResult()), "mirrors", LATER)
    assert _reasons(over)["Reconciled"] == ("True", "Reconciled")
    assert _reasons(status_of_invalid(obj, [], LATER))["Reconciled"] == ("True", "Reconciled")


def test_stuck_deletion_precedes_its_consequences() -> None:
    applied = ApplyResult(deleting={"StatefulSet a": (SINCE, ["example.com/hold"], STUCK_AFTER)})
    reasons = _reasons(status_of(stored(), parsed(), Observation(inputs(), applied=applied), "mirrors", NOW))
    assert reasons["Reconciled"] == ("False", "ObjectTerminating")
    assert reasons["Ready"] == ("False", "ObjectTerminating")
