"""Test UpstreamReachable and CredentialsAvailable."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from common.cache_protocol import CredentialsResult
from controller.model.inputs import Credentials, CredentialsState
from controller.model.observation import Observation, Verdict
from controller.objects import docker_config
from controller.status import reasons
from controller.status.conditions import cache_available, is_serving
from controller.status.upstream_conditions import credentials_available, upstream_reachable
from tests.support.controller import a_stateful_set, encoded, inputs, parsed, stored
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


def _all(verdict: Verdict | None) -> list[Verdict]:
    return [] if verdict is None else [verdict]


def _credentials(
    state: str, verdict: Verdict | None, obj: Json | None = None, login: CredentialsResult | None = None
) -> Condition:
    found = Credentials(CredentialsState[state], encoded(b"bob"), encoded(b"secret"))
    if login is not None:
        verdict = Verdict(reasons.REACHABLE, "It answers.", login)
    return credentials_available(obj or stored(), MIRROR, "mirrors", inputs(credentials=found), _all(verdict))


@pytest.mark.parametrize(("verdict", "status"), [(DOWN, "False"), (UP, "True"), (NOT_ASKED, "Unknown")])
def test_verdict_becomes_condition(verdict: Verdict, status: str) -> None:
    found = upstream_reachable(published("UpstreamReachable", "False", "TimedOut"), MIRROR, [verdict])
    assert (found.status, found.reason, found.message) == (status, verdict.cause.name, verdict.message)


def test_condition_is_unknown_before_first_answer() -> None:
    found = upstream_reachable(stored(), MIRROR, [])
    assert (found.status, found.reason) == ("Unknown", "NotAsked")
    assert _credentials("FOUND", None).reason == "Found"


def test_earlier_condition_is_kept_before_first_answer() -> None:
    """A restart or another leader writes no status and records no Event."""
    away = upstream_reachable(published("UpstreamReachable", "False", "RateLimited"), MIRROR, [])
    assert (away.status, away.reason, away.message) == ("False", "RateLimited", "as it was")
    silent = upstream_reachable(published("UpstreamReachable", "Unknown", "NotAsked"), MIRROR, [])
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
    assert upstream_reachable(other, MIRROR, []).reason == "NotAsked"
    earlier = published("UpstreamReachable", "True", "Reachable", generation=0)
    assert upstream_reachable(earlier, MIRROR, []).reason == "NotAsked"
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


def test_only_the_missing_key_is_named() -> None:
    known = inputs(credentials=Credentials(CredentialsState.SECRET_INCOMPLETE, lacking="password"))
    found = credentials_available(stored(), MIRROR, "mirrors", known, [])
    assert found.message == "Secret mirrors/login has no password for quay.io. The cache pulls anonymously. Set it."


def test_entry_of_an_http_upstream_has_its_scheme() -> None:
    """An entry for the host alone exists often, and is for https."""
    mirror = parsed(a_mirror().of("http://reg.test:5000").logging_in_with("login"))
    known = inputs(credentials=Credentials(CredentialsState.SECRET_INCOMPLETE))
    found = credentials_available(stored(), mirror, "mirrors", known, [])
    assert found.message.endswith("needs an entry for http://reg.test:5000.")
    body = {"auths": {"http://reg.test:5000": {"username": "bob", "password": "secret"}}}
    data = {docker_config.KEY: encoded(json.dumps(body).encode())}
    assert docker_config.account_of({"data": data}, mirror.upstream) == (encoded(b"bob"), encoded(b"secret"))


# Several upstreams

MANY = parsed(
    a_mirror()
    .logging_in_with("quay-login")
    .also_of("docker.io", {"upstreamUrl": "ghcr.io", "credentialsSecret": "ghcr-login"}, "http://plain.test:5000")
)
HOSTS = [each.upstream.image_host for each in MANY.sources]


def _verdicts(**changed: Verdict) -> list[Verdict]:
    """Return what the caches report of each upstream; by default each answers."""
    urls = {host.partition(".")[0]: source.upstream.url for host, source in zip(HOSTS, MANY.sources, strict=True)}
    return [changed.get(name, Verdict(reasons.REACHABLE, f"{url} answers.")) for name, url in urls.items()]


def _states(*states: str) -> tuple[Credentials, ...]:
    return tuple(Credentials(CredentialsState[each]) for each in states)


def test_all_upstreams_answer() -> None:
    found = upstream_reachable(stored(), MANY, _verdicts())
    assert (found.status, found.reason, found.message) == ("True", "Reachable", "All 4 upstreams answer.")


def test_failing_upstreams_are_named() -> None:
    """One upstream that fails hides no other, and one that works is not blamed."""
    limited = Verdict(reasons.RATE_LIMITED, "https://registry-1.docker.io answers 429.")
    late = Verdict(reasons.NOT_ASKED, "No cache pod has asked https://ghcr.io yet.")
    found = upstream_reachable(stored(), MANY, _verdicts(docker=limited, ghcr=late))
    assert (found.status, found.reason) == ("False", "RateLimited")
    assert found.message == (
        "2 of 4 upstreams answer. docker.io: https://registry-1.docker.io answers 429."
        " ghcr.io: No cache pod has asked https://ghcr.io yet."
    )
    unknown = upstream_reachable(stored(), MANY, _verdicts(ghcr=late))
    assert (unknown.status, unknown.reason) == ("Unknown", "NotAsked")


def test_rate_limit_hides_no_other_failure() -> None:
    """The alert about unreachable upstreams is off while the reason is RateLimited."""
    limited = Verdict(reasons.RATE_LIMITED, "quay.io answers 429.")
    away = Verdict(reasons.NAME_NOT_FOUND, "No name server knows docker.io.")
    late = Verdict(reasons.NOT_ASKED, "No cache pod has asked ghcr.io yet.")
    found = upstream_reachable(stored(), MANY, _verdicts(quay=limited, docker=away, ghcr=late))
    assert (found.status, found.reason) == ("False", "NameNotFound")
    assert found.message == (
        "1 of 4 upstreams answer. docker.io: No name server knows docker.io. quay.io: quay.io answers 429."
        " ghcr.io: No cache pod has asked ghcr.io yet."
    )


def test_message_of_many_failures_stays_short() -> None:
    """Three have a sentence, and the others their reason."""
    many = parsed(a_mirror().also_of(*(f"registry-{number}.example.com" for number in range(20))))
    down = [Verdict(reasons.TIMED_OUT, "x" * 400)] * 21
    message = upstream_reachable(stored(), many, down).message
    assert message.startswith("0 of 21 upstreams answer. quay.io: xxx")
    assert "Further: registry-2.example.com (TimedOut), registry-3.example.com (TimedOut)" in message
    assert message.endswith("registry-19.example.com (TimedOut).")


def test_credentials_of_each_upstream_are_reported() -> None:
    """The worst status counts. A message names the upstream, its Secret and its field."""
    accepted = Verdict(reasons.REACHABLE, "Yes.", CredentialsResult.ACCEPTED)
    required = Verdict(reasons.REACHABLE, "Yes.", CredentialsResult.REQUIRED)
    known = inputs(credentials=_states("FOUND", "NOT_REQUIRED", "SECRET_MISSING", "NOT_REQUIRED"))
    found = credentials_available(stored(), MANY, "mirrors", known, _verdicts(quay=accepted, plain=required))
    assert (found.status, found.reason) == ("False", "SecretMissing")
    assert found.message == (
        "ghcr.io: Secret mirrors/ghcr-login does not exist. The cache pulls anonymously. Create it with username and"
        " password. plain.test:5000: http://plain.test:5000 requires credentials. Create a Secret with username and"
        " password. Name it in spec.additionalUpstreams[2].credentialsSecret."
    )


def test_accepted_credentials_of_several_upstreams() -> None:
    """Accounts without an answer come first."""
    accepted = Verdict(reasons.REACHABLE, "Yes.", CredentialsResult.ACCEPTED)
    known = inputs(credentials=_states("FOUND", "NOT_REQUIRED", "FOUND", "NOT_REQUIRED"))
    found = credentials_available(stored(), MANY, "mirrors", known, _verdicts(quay=accepted))
    assert (found.status, found.reason) == ("True", "Found")
    assert found.message == (
        "ghcr.io: Secret mirrors/ghcr-login has username and password."
        " quay.io: https://quay.io accepts the credentials in Secret mirrors/quay-login."
    )
    both = credentials_available(stored(), MANY, "mirrors", known, _verdicts(quay=accepted, ghcr=accepted))
    assert (both.status, both.reason) == ("True", "CredentialsAccepted")


def test_login_result_waits_for_each_secret() -> None:
    """After a restart of the caches one upstream answers before the other."""
    obj = published("CredentialsAvailable", "False", "CredentialsRefused")
    known = inputs(credentials=_states("FOUND", "NOT_REQUIRED", "FOUND", "NOT_REQUIRED"))
    accepted = Verdict(reasons.REACHABLE, "Yes.", CredentialsResult.ACCEPTED)
    early = _verdicts(quay=accepted, ghcr=NOT_ASKED)
    assert credentials_available(obj, MANY, "mirrors", known, early).message == "as it was"
    anonymous = _verdicts(quay=accepted, ghcr=accepted, docker=NOT_ASKED)
    assert credentials_available(obj, MANY, "mirrors", known, anonymous).reason == "CredentialsAccepted"
    added = _verdicts(quay=accepted, ghcr=replace(NOT_ASKED, is_switching=True))
    assert credentials_available(obj, MANY, "mirrors", known, added).reason == "Found"


def test_several_upstreams_need_no_credentials() -> None:
    found = credentials_available(stored(), MANY, "mirrors", inputs(credentials=_states(*["NOT_REQUIRED"] * 4)), [])
    assert (found.status, found.reason) == ("True", "NotRequired")
    assert found.message == "The mirror names no Secret. The cache pulls anonymously."


def test_upstream_that_is_not_served_yet_is_named() -> None:
    """Nodes use the mirror for the others meanwhile."""
    absent = Verdict(reasons.NOT_ASKED, "Not read yet.", is_switching=True)
    observation = Observation(
        inputs(credentials=_states(*["NOT_REQUIRED"] * 4), images_holders={"plain.test:5000": "older"}),
        stateful_set=a_stateful_set(ready=2),
        verdicts=tuple(_verdicts(docker=absent, plain=absent)),
    )
    found = cache_available(stored(), MANY, observation)
    assert (found.status, found.reason) == ("True", "SwitchingUpstream")
    assert found.message == (
        "The cache pods do not serve https://registry-1.docker.io, http://plain.test:5000 yet. Nodes pull images of"
        " docker.io from the upstream, images of plain.test:5000 through RegistryMirror older. Wait two minutes."
    )
    assert is_serving(stored(), observation)
    assert not is_serving(stored(), replace(observation, verdicts=(absent,) * 4))
