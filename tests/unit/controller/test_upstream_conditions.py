"""Test UpstreamReachable and CredentialsAvailable."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from common.cache_protocol import CredentialsResult
from controller.model.inputs import Credentials, CredentialsState
from controller.model.observation import Verdict
from controller.status import reasons
from controller.status.upstream_conditions import credentials_available, upstream_reachable
from tests.support.controller import encoded, inputs, parsed, stored
from tests.support.mirrors import a_mirror

if TYPE_CHECKING:
    from common.types import Json
    from controller.model.condition import Condition

URL = "https://quay.io"
MIRROR = parsed(a_mirror().of("quay.io").logging_in_with("login"))
DOWN = Verdict(reasons.SERVER_ERROR, f"{URL} answers 503.")
UP = Verdict(reasons.REACHABLE, f"{URL} answers.")
NOT_ASKED = Verdict(reasons.NOT_ASKED, f"No cache pod has asked {URL} yet.")


def published(kind: str, status: str, reason: str, *, upstream: str = URL, generation: int = 1) -> Json:
    """Return a stored mirror with this condition."""
    condition = {"type": kind, "status": status, "reason": reason, "message": "as it was"}
    return stored() | {
        "status": {"upstream": upstream, "observedGeneration": generation, "conditions": [condition]},
    }


def _credentials(
    state: str, verdict: Verdict | None, obj: Json | None = None, login: CredentialsResult | None = None
) -> Condition:
    found = Credentials(CredentialsState[state], encoded(b"bob"), encoded(b"secret"))
    if login is not None:
        verdict = Verdict(reasons.REACHABLE, "It answers.", login)
    return credentials_available(obj or stored(), MIRROR, "mirrors", inputs(credentials=found), verdict)


@pytest.mark.parametrize(("verdict", "status"), [(DOWN, "False"), (UP, "True"), (NOT_ASKED, "Unknown")])
def test_verdict_becomes_condition(verdict: Verdict, status: str) -> None:
    found = upstream_reachable(published("UpstreamReachable", "False", "TimedOut"), MIRROR, verdict)
    assert (found.status, found.reason, found.message) == (status, verdict.cause.name, verdict.message)


def test_condition_is_unknown_before_first_answer() -> None:
    found = upstream_reachable(stored(), MIRROR, None)
    assert (found.status, found.reason) == ("Unknown", "NotAsked")
    assert _credentials("FOUND", None).reason == "Found"


def test_earlier_condition_is_kept_before_first_answer() -> None:
    """A restart or another leader writes no status and records no Event."""
    away = upstream_reachable(published("UpstreamReachable", "False", "RateLimited"), MIRROR, None)
    assert (away.status, away.reason, away.message) == ("False", "RateLimited", "as it was")
    silent = upstream_reachable(published("UpstreamReachable", "Unknown", "NotAsked"), MIRROR, None)
    assert (silent.status, silent.reason, silent.message) == ("Unknown", "NotAsked", "as it was")
    refused = published("CredentialsAvailable", "False", "CredentialsRefused")
    assert _credentials("FOUND", None, refused).reason == "CredentialsRefused"


def test_login_result_survives_a_restart_of_caches() -> None:
    """Ready would turn True and False again."""
    refused = published("CredentialsAvailable", "False", "CredentialsRefused")
    assert _credentials("FOUND", NOT_ASKED, refused).message == "as it was"
    assert _credentials("FOUND", UP, refused).reason == "Found"
    assert _credentials("SECRET_MISSING", NOT_ASKED, refused).reason == "SecretMissing"


def test_condition_of_other_spec_is_dropped() -> None:
    other = published("UpstreamReachable", "True", "Reachable", upstream="https://ghcr.io")
    assert upstream_reachable(other, MIRROR, None).reason == "NotAsked"
    earlier = published("UpstreamReachable", "True", "Reachable", generation=0)
    assert upstream_reachable(earlier, MIRROR, None).reason == "NotAsked"
    for reason in ("SecretMissing", "CredentialsRequired"):
        assert _credentials("FOUND", None, published("CredentialsAvailable", "False", reason)).reason == "Found"


@pytest.mark.parametrize(
    ("state", "login", "expected"),
    [
        ("FOUND", "ACCEPTED", ("True", "CredentialsAccepted")),
        ("FOUND", "REFUSED", ("False", "CredentialsRefused")),
        ("FOUND", "NOT_CHECKED", ("True", "Found")),
        ("NOT_REQUIRED", "NOT_CHECKED", ("True", "NotRequired")),
        ("NOT_REQUIRED", "REQUIRED", ("False", "CredentialsRequired")),
        ("NOT_REQUIRED", "NOT_VERIFIED", ("Unknown", "CredentialsNotVerified")),
        # The caches have not read the Secret of the changed spec yet.
        *(("FOUND", login, ("True", "Found")) for login in ("REQUIRED", "NOT_VERIFIED")),
        *(("NOT_REQUIRED", login, ("True", "NotRequired")) for login in ("ACCEPTED", "REFUSED")),
        ("SECRET_MISSING", "REQUIRED", ("False", "SecretMissing")),
        ("SECRET_INCOMPLETE", "NOT_VERIFIED", ("False", "SecretIncomplete")),
        ("SECRET_NOT_OPTED_IN", "ACCEPTED", ("False", "SecretNotOptedIn")),
    ],
)
def test_login_result_becomes_condition(state: str, login: str, expected: tuple[str, str]) -> None:
    found = _credentials(state, None, login=CredentialsResult[login])
    assert (found.status, found.reason) == expected
    assert found.message.endswith(".")
    assert (URL in found.message) == (found.reason.startswith("Credentials"))
