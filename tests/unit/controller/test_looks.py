"""When a mirror is looked at again after a pass."""

from __future__ import annotations

import pytest

from controller.apply import Applied
from controller.facts import Lacking
from controller.findings import Findings
from controller.looks import outcome
from controller.outcomes import Done, Outcome, Stalled, Waiting
from tests.support.controller import facts

QUIET = facts()
LACKING = Lacking("CertificateSecretMissing", "There is none.")


@pytest.mark.parametrize(
    ("findings", "survey", "refused", "expected"),
    [
        (Findings(QUIET), None, 0.0, Done()),
        (Findings(QUIET), 30.0, 0.0, Waiting(30.0, "NodesPending")),
        (Findings(QUIET, refused="a quota"), None, 0.0, Waiting(1.0, "ApplyFailed")),
        (Findings(QUIET, refused="a quota"), None, 7.0, Waiting(7.0, "ApplyFailed")),
        (Findings(QUIET, refused="a quota"), None, 900.0, Waiting(60.0, "ApplyFailed")),
        (Findings(QUIET, Applied(altered_for=0.0)), None, 0.0, Waiting(60.0, "Altered")),
        (Findings(QUIET, Applied(altered_for=240.0)), None, 0.0, Waiting(240.0, "Altered")),
        (Findings(QUIET, Applied(altered_for=1e6)), None, 0.0, Waiting(3600.0, "Altered")),
        (Findings(QUIET, Applied(passing=["Service x"], wait=30.0)), None, 0.0, Waiting(10.0, "ObjectsPassing", 1.0)),
        # Of a mirror that lacks something the rest is kept all the same.
        (Findings(LACKING, Applied()), 30.0, 0.0, Stalled("CertificateSecretMissing", "There is none.")),
        (Findings(LACKING, refused="a quota"), None, 7.0, Waiting(7.0, "ApplyFailed")),
        (Findings(LACKING, Applied(wait=30.0)), None, 0.0, Waiting(30.0, "Contested", 1.0)),
    ],
)
def test_the_soonest_of_all_that_is_waited_for(
    findings: Findings, survey: float | None, refused: float, expected: Outcome
) -> None:
    assert outcome(findings, survey, refused) == expected


def test_of_several_quarrels_the_soonest_repair_counts() -> None:
    applied = Applied()
    for seconds in (27.5, 177.0, 42.0):
        applied.wait_for(seconds)
    assert applied.wait == 27.5
