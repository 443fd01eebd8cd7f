"""Which failures a mirror's status tells of, and when it says that they are over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from controller.kubeclient.errors import Conflict, NotLeader, Unavailable
from controller.model.observation import Observation
from controller.model.results import ApplyResult
from controller.status.failures import FAILURES, GOING, LONG, Failure, stuck_deletions, worth_telling
from controller.status.status import status_of, status_of_failing, status_of_invalid
from tests.support.controller import LATER, NOW, inputs, judged, stored

if TYPE_CHECKING:
    from common.types import Json

SINCE = "2026-06-01T11:00:00Z"
REFUSED = Unavailable("failed calling webhook", 500)


@pytest.mark.parametrize(
    ("error", "in_a_row", "seconds", "reason"),
    [
        (REFUSED, 1, 0.1, None),
        (REFUSED, FAILURES, 0.1, "ReconcileFailed"),
        (REFUSED, 1, LONG, "ReconcileFailed"),
        (Conflict("faster", 409), 100, 100.0, None),
        (NotLeader("no lease"), 100, 100.0, None),
        (TypeError("oops"), 1, 0.0, "InternalError"),
    ],
)
def test_what_is_told(error: Exception, in_a_row: int, seconds: float, reason: str | None) -> None:
    told = worth_telling(error, in_a_row, seconds)
    assert (told.reason if told else None) == reason


def test_an_object_that_does_not_go_is_told_of_with_what_holds_it_after_a_while() -> None:
    """By how long this process has seen it: years of the API server's clock are none of ours."""
    assert stuck_deletions(ApplyResult(going={"Secret a": (SINCE, ["example.com/hold"], GOING - 1)})) is None
    told = stuck_deletions(
        ApplyResult(going={"Secret a": (SINCE, ["example.com/hold"], GOING), "Service b": (SINCE, [], 0.0)})
    )
    assert told is not None
    assert told.reason == "ObjectTerminating"
    assert "Secret a is being deleted since" in told.message
    assert "example.com/hold" in told.message
    assert "Service b" not in told.message
    assert stuck_deletions(None) is None


def _said(status: Json) -> dict[str, tuple[str, str]]:
    return {each["type"]: (each["status"], each["reason"]) for each in status["conditions"]}


def test_the_condition_is_there_from_the_first_failure_on_and_true_once_it_is_over() -> None:
    never = status_of(stored(), judged(), Observation(inputs(), applied=ApplyResult()), "mirrors", NOW)
    assert "Reconciled" not in _said(never)
    failing = status_of_failing({**stored(), "status": never}, Failure("InternalError", "A bug."), NOW)
    assert _said(failing)["Reconciled"] == ("False", "InternalError")
    assert _said(failing)["Ready"] == ("False", "InternalError")
    assert _said(failing)["Accepted"] == _said(never)["Accepted"], "what was known stays"
    raw = {**stored(), "status": failing}
    over = status_of(raw, judged(), Observation(inputs(), applied=ApplyResult()), "mirrors", LATER)
    assert _said(over)["Reconciled"] == ("True", "Reconciled")
    assert _said(status_of_invalid(raw, [], LATER))["Reconciled"] == ("True", "Reconciled")


def test_an_object_that_does_not_go_comes_before_what_follows_from_it() -> None:
    applied = ApplyResult(going={"StatefulSet a": (SINCE, ["example.com/hold"], GOING)})
    said = _said(status_of(stored(), judged(), Observation(inputs(), applied=applied), "mirrors", NOW))
    assert said["Reconciled"] == ("False", "ObjectTerminating")
    assert said["Ready"] == ("False", "ObjectTerminating")
