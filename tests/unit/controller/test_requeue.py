"""Decide when to reconcile a mirror again."""

from __future__ import annotations

import pytest

from controller.model.inputs import MissingInput
from controller.model.observation import Observation
from controller.model.results import ApplyResult, Done, Outcome, RequeueAfter, Stalled
from controller.reconcile.requeue import outcome
from tests.support.controller import inputs

QUIET = inputs()
LACKING = MissingInput("CertificateSecretMissing", "There is none.")


@pytest.mark.parametrize(
    ("observation", "survey", "refused", "expected"),
    [
        (Observation(QUIET), None, 0.0, Done()),
        (Observation(QUIET), 30.0, 0.0, RequeueAfter(30.0, "NodesPending")),
        (Observation(QUIET, refused="a quota"), None, 0.0, RequeueAfter(1.0, "ApplyFailed")),
        (Observation(QUIET, refused="a quota"), None, 7.0, RequeueAfter(7.0, "ApplyFailed")),
        (Observation(QUIET, refused="a quota"), None, 900.0, RequeueAfter(60.0, "ApplyFailed")),
        (
            Observation(QUIET, ApplyResult(terminating=["Service x"], wait=30.0)),
            None,
            0.0,
            RequeueAfter(10.0, "ObjectsTerminating", 1.0),
        ),
        # The other objects are kept if an input is missing.
        (Observation(LACKING, ApplyResult()), 30.0, 0.0, Stalled("CertificateSecretMissing", "There is none.")),
        (Observation(LACKING, refused="a quota"), None, 7.0, RequeueAfter(7.0, "ApplyFailed")),
        (Observation(LACKING, ApplyResult(wait=30.0)), None, 0.0, RequeueAfter(30.0, "RepairLimited", 1.0)),
    ],
)
def test_outcome_is_the_soonest_wait(
    observation: Observation, survey: float | None, refused: float, expected: Outcome
) -> None:
    assert outcome(observation, survey, refused) == expected


def test_apply_result_keeps_shortest_wait() -> None:
    applied = ApplyResult()
    for seconds in (27.5, 177.0, 42.0):
        applied.wait_for(seconds)
    assert applied.wait == 27.5
