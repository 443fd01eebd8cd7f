"""Parse challenges, schedule probes, and build conditions from results."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.settings import SettingsError
from controller.model.inputs import Credentials, CredentialsState
from controller.model.observation import Login, Verdict
from controller.status import reasons
from controller.status.upstream_conditions import credentials_available, upstream_reachable
from controller.upstream import probe_messages
from controller.upstream.auth_challenge import Challenge, challenges, may_get_credentials
from controller.upstream.probe_messages import Question
from controller.upstream.schedule import FIRST_WAIT, Schedule
from tests.support.controller import inputs, parsed, settings, stored
from tests.support.mirrors import a_mirror

if TYPE_CHECKING:
    from common.types import Json

HUB = 'Bearer realm="https://auth.docker.io/token",service="registry.docker.io"'


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (HUB, Challenge("bearer", {"realm": "https://auth.docker.io/token", "service": "registry.docker.io"})),
        ('bEARER  Realm = "x"', Challenge("bearer", {})),
        ('Basic realm="a \\"quoted\\" one"', Challenge("basic", {"realm": 'a "quoted" one'})),
        ("Basic realm=here , charset=UTF-8", Challenge("basic", {"realm": "here", "charset": "UTF-8"})),
        ('Basic realm="a", Bearer realm="b"', Challenge("basic", {"realm": "a"})),
        ('Bearer realm="never ends', Challenge("bearer", {})),
        ("Negotiate", Challenge("negotiate", {})),
    ],
)
def test_challenge_is_parsed_like_registry(header: str, expected: Challenge) -> None:
    assert challenges([header]) == [expected]


@given(st.lists(st.text() | st.from_regex(r'(Bearer|Basic) ([a-z]+="[^"]*",?)*')))
def test_any_header_can_be_parsed(headers: list[str]) -> None:
    assert len(challenges(headers)) <= len(headers)


@given(st.text(alphabet=st.characters(codec="ascii", exclude_characters='"\\'), min_size=1))
def test_quoted_value_is_parsed(value: str) -> None:
    (found,) = challenges([f'Bearer realm="{value}",service=x'])
    assert found.parameters == {"realm": value, "service": "x"}


@pytest.mark.parametrize(
    ("upstream", "realm", "allowed"),
    [
        ("https://registry-1.docker.io", "https://auth.docker.io/token", True),
        ("https://registry.example:5000", "https://REGISTRY.example:5000/token", True),
        ("https://quay.io", "https://auth.example.com/token", False),
        ("https://127.0.0.1:5201", "https://127.0.0.1:5201/token", True),
        ("https://127.0.0.1:5201", "https://127.0.0.1:5202/token", False),
        ("https://localhost:5000", "https://localhost:5001/token", False),
        ("https://[::1]:5000", "https://[::1]:5001/token", False),
        ("https://registry.corp", "https://auth.corp/token", False),
        ("https://registry", "https://auth/token", True),
        ("https://registry.team.corp", "https://auth.team.corp/token", True),
        ("https://quay.io", "", False),
        ("https://quay.io", "/token", False),
        ("https://quay.io", "https://[half", False),
    ],
)
def test_realm_rule_equals_registry(upstream: str, realm: str, *, allowed: bool) -> None:
    assert may_get_credentials(upstream, realm) is allowed


@given(st.text(), st.text())
def test_any_realm_can_be_checked(upstream: str, realm: str) -> None:
    assert may_get_credentials(f"https://{upstream}", realm) in (True, False)


FINE = probe_messages.reachable(Question("https://quay.io"))
DOWN = Verdict(reasons.SERVER_ERROR, "https://quay.io answers 503.")
ONE, TWO = Question("https://quay.io"), Question("https://quay.io", "bob", "secret")


def test_probe_repeats_and_is_shared() -> None:
    schedule = Schedule(300)
    assert schedule.follow("a", ONE, 0) is None
    assert schedule.follow("b", ONE, 1) is None
    assert schedule.take(1) == ONE
    assert schedule.take(1) is None, "it is being asked"
    assert schedule.answered(ONE, FINE, 2) == ["a", "b"]
    assert schedule.follow("a", ONE, 3) is FINE
    assert schedule.take(301) is None
    assert schedule.next_due() == 302
    assert schedule.take(302) == ONE
    assert schedule.answered(ONE, FINE, 303) == [], "no news"


def test_failed_probe_is_retried_with_backoff() -> None:
    schedule, now, waits = Schedule(300), 0.0, []
    schedule.follow("a", ONE, now)
    for _ in range(7):
        assert schedule.take(now) == ONE
        schedule.answered(ONE, DOWN, now)
        due = schedule.next_due() or 0
        waits.append(due - now)
        now = due
    assert waits == [15, 30, 60, 120, 240, 300, 300]
    schedule.take(now)
    assert schedule.answered(ONE, FINE, now) == ["a"]
    assert schedule.next_due() == now + 300


def test_backoff_does_not_exceed_period() -> None:
    schedule = Schedule(2)
    schedule.follow("a", ONE, 0)
    schedule.take(0)
    schedule.answered(ONE, None, 0)
    assert FIRST_WAIT > 2
    assert schedule.next_due() == 2


def test_refused_credentials_wait_a_period() -> None:
    """Some registries lock an account after a few failed logins."""
    schedule = Schedule(300)
    schedule.follow("a", TWO, 0)
    schedule.take(0)
    schedule.answered(TWO, probe_messages.reachable(TWO, Login.REFUSED), 0)
    assert schedule.next_due() == 300


def test_login_result_survives_an_outage() -> None:
    schedule = Schedule(300)
    schedule.follow("a", TWO, 0)
    schedule.take(0)
    schedule.answered(TWO, probe_messages.reachable(TWO, Login.REFUSED), 0)
    schedule.take(300)
    assert schedule.answered(TWO, DOWN, 300) == ["a"]
    assert schedule.follow("a", TWO, 301) == Verdict(DOWN.cause, DOWN.message, Login.REFUSED)


def test_changed_parameters_are_due_at_once() -> None:
    schedule = Schedule(300)
    schedule.follow("a", ONE, 0)
    schedule.take(0)
    assert schedule.follow("a", TWO, 1) is None
    assert schedule.answered(ONE, FINE, 2) == []
    assert schedule.take(2) == TWO
    assert len(schedule) == 1
    schedule.forget("a")
    schedule.forget("a")
    assert (len(schedule), schedule.next_due()) == (0, None)


def test_question_repr_hides_password() -> None:
    assert repr(TWO) == "Question('https://quay.io')"


@pytest.mark.parametrize("value", ["-1", "0.5", "3601", "often"])
def test_invalid_period_is_refused(value: str) -> None:
    with pytest.raises(SettingsError, match="UPSTREAM_PROBE_SECONDS"):
        settings(UPSTREAM_PROBE_SECONDS=value)


MIRROR = parsed(a_mirror().of("quay.io").logging_in_with("login"))
FOUND = inputs(credentials=Credentials(CredentialsState.FOUND, "bob", "secret"))


def published(kind: str, status: str, reason: str, *, upstream: str = "https://quay.io", generation: int = 1) -> Json:
    """Return a stored mirror with this condition."""
    condition = {"type": kind, "status": status, "reason": reason, "message": "as it was"}
    return stored() | {
        "status": {"upstream": upstream, "observedGeneration": generation, "conditions": [condition]},
    }


def test_verdict_becomes_condition() -> None:
    found = upstream_reachable(stored(), MIRROR, DOWN)
    assert (found.status, found.reason, found.message) == ("False", DOWN.reason, DOWN.message)
    assert upstream_reachable(stored(), MIRROR, FINE).status == "True"
    assert upstream_reachable(stored(), MIRROR, probe_messages.never("https://quay.io")).status == "Unknown"


def test_condition_is_unknown_before_first_probe() -> None:
    found = upstream_reachable(stored(), MIRROR, None)
    assert (found.status, found.reason) == ("Unknown", "NotProbed")
    assert credentials_available(stored(), MIRROR, "mirrors", FOUND, None).reason == "Found"


def test_earlier_condition_is_kept() -> None:
    """A restart or another leader writes no status and records no Event."""
    away = upstream_reachable(published("UpstreamReachable", "False", "RateLimited"), MIRROR, None)
    assert (away.status, away.reason, away.message) == ("False", "RateLimited", "as it was")
    refused = published("CredentialsAvailable", "False", "CredentialsRefused")
    assert credentials_available(refused, MIRROR, "mirrors", FOUND, None).reason == "CredentialsRefused"


def test_condition_of_other_spec_is_dropped() -> None:
    other = published("UpstreamReachable", "True", "Reachable", upstream="https://ghcr.io")
    assert upstream_reachable(other, MIRROR, None).reason == "NotProbed"
    earlier = published("UpstreamReachable", "True", "Reachable", generation=0)
    assert upstream_reachable(earlier, MIRROR, None).reason == "NotProbed"
    missing = published("CredentialsAvailable", "False", "SecretMissing")
    assert credentials_available(missing, MIRROR, "mirrors", FOUND, None).reason == "Found"


@pytest.mark.parametrize(
    ("state", "login", "expected"),
    [
        ("FOUND", Login.ACCEPTED, ("True", "CredentialsAccepted")),
        ("FOUND", Login.REFUSED, ("False", "CredentialsRefused")),
        ("FOUND", None, ("True", "Found")),
        ("NOT_REQUIRED", None, ("True", "NotRequired")),
        ("NOT_REQUIRED", Login.REQUIRED, ("False", "CredentialsRequired")),
        ("NOT_REQUIRED", Login.NOT_VERIFIED, ("Unknown", "CredentialsNotVerified")),
        ("SECRET_MISSING", Login.REQUIRED, ("False", "SecretMissing")),
        ("SECRET_MISSING", None, ("False", "SecretMissing")),
        ("SECRET_INCOMPLETE", None, ("False", "SecretIncomplete")),
        ("SECRET_NOT_OPTED_IN", None, ("False", "SecretNotOptedIn")),
    ],
)
def test_login_result_becomes_condition(state: str, login: Login | None, expected: tuple[str, str]) -> None:
    known = inputs(credentials=Credentials(CredentialsState[state]))
    found = credentials_available(stored(), MIRROR, "mirrors", known, Verdict(reasons.REACHABLE, "It answers.", login))
    assert (found.status, found.reason) == expected
    assert found.message.endswith(".")
    assert "https://quay.io" in found.message or login is None or state.startswith("SECRET")
