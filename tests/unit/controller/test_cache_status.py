"""Test what the status of cache pods means for a mirror."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.cache_protocol import CredentialsResult, UpstreamReason
from controller.caches import cache_status
from controller.caches.cache_status import MESSAGE_MAX, UpstreamAnswer, parse_status, verdict_of
from controller.model import condition
from controller.status import conditions, reasons, upstream_conditions
from tests.support import strategies
from tests.support.controller import NOW, parsed, stored
from tests.support.mirrors import a_mirror

if TYPE_CHECKING:
    from controller.model.observation import Verdict

URL = "https://quay.io"
CLOCK = datetime(2026, 6, 1, 12, 0, 30, tzinfo=UTC)
MEANWHILE = "The cache serves what it has stored."


def _entry(reason: object = "Reachable", **more: object) -> dict[str, object]:
    """Return an upstream in the status of a cache."""
    return {"url": URL, "reason": reason, "message": "As it is.", "credentials": "", **more}


def _answer(*entries: object) -> tuple[UpstreamAnswer, ...]:
    found = parse_status({"upstreams": list(entries)}, CLOCK)
    assert found is not None
    return found


def _verdict(*entries: dict[str, object] | None) -> Verdict:
    """Return the verdict on one pod for each entry; None for a pod that does not answer."""
    answers = {f"pod-{number}": None if each is None else _answer(each) for number, each in enumerate(entries)}
    return verdict_of(URL, answers)


# Words of the protocol


def test_every_word_of_caches_has_a_reason() -> None:
    assert set(cache_status._REASONS) == set(UpstreamReason)
    assert set(cache_status._WORST_FIRST) == set(CredentialsResult)
    results = [result for found in upstream_conditions._RESULTS.values() for result in found]
    assert sorted([*results, CredentialsResult.NOT_CHECKED]) == sorted(CredentialsResult)


@pytest.mark.parametrize("reason", UpstreamReason)
def test_reason_is_passed_on(reason: UpstreamReason) -> None:
    found = _verdict(_entry(reason.value))
    expected = {UpstreamReason.REACHABLE: "True", UpstreamReason.NOT_ASKED: "Unknown"}.get(reason, "False")
    assert (found.cause.name, found.cause.status, found.is_switching) == (reason, expected, False)
    assert found.message == {"True": f"{URL} answers.", "Unknown": f"No cache pod has asked {URL} yet."}.get(
        expected, f"As it is. {MEANWHILE}"
    )


@pytest.mark.parametrize("result", CredentialsResult)
def test_login_is_passed_on(result: CredentialsResult) -> None:
    assert _verdict(_entry(credentials=result.value)).login is result


def test_unknown_words_are_of_another_version() -> None:
    found = _verdict(_entry("Overloaded", credentials="CredentialsExpired"))
    assert (found.cause, found.message) == (reasons.SERVER_ERROR, f"As it is. {MEANWHILE}")
    assert found.login is CredentialsResult.NOT_CHECKED


# Several pods


def test_failure_names_the_pod_if_others_differ() -> None:
    limited = _entry("RateLimited", message="429.")
    assert _verdict(_entry(), limited).message == f"pod-1: 429. {MEANWHILE}"
    assert _verdict(limited, limited).message == f"429. {MEANWHILE}"
    assert _verdict(limited, None).message == f"429. {MEANWHILE}"
    assert _verdict(_entry("TimedOut", message="Late."), limited).message == f"pod-0: Late. {MEANWHILE}"


def test_one_pod_that_reaches_the_upstream_is_enough() -> None:
    for entries in ((_entry(), _entry("NotAsked")), (_entry("NotAsked"), None, _entry())):
        assert _verdict(*entries).cause is reasons.REACHABLE


@pytest.mark.parametrize(("first", "second"), list(itertools.product(CredentialsResult, repeat=2)))
def test_worst_login_counts(first: CredentialsResult, second: CredentialsResult) -> None:
    found = _verdict(_entry(credentials=first.value), _entry(credentials=second.value)).login.name
    order = ("REFUSED", "REQUIRED", "NOT_VERIFIED", "ACCEPTED", "NOT_CHECKED")
    assert order.index(found) == min(order.index(first.name), order.index(second.name))


def test_caches_of_former_upstream_are_switching() -> None:
    former = _entry(url="https://ghcr.io")
    assert _verdict(former, None).is_switching
    assert _verdict(former).cause is reasons.NOT_ASKED
    followed = _verdict(former, _entry())
    assert (followed.cause, followed.is_switching) == (reasons.REACHABLE, False)


@pytest.mark.parametrize("entries", [(), (None,), (None, None)])
def test_no_answer_is_unknown(entries: tuple[None, ...]) -> None:
    found = _verdict(*entries)
    assert (found.cause, found.is_switching) == (reasons.NOT_ASKED, False)
    assert "port 5001" in found.message


# The time of a rate limit


@pytest.mark.parametrize(
    ("pause", "time"),
    [
        (61, "12:02"),
        (89.9, "12:02"),
        (90, "12:03"),
        (3600, "13:01"),
        (43_200, "00:01"),
        *((pause, "") for pause in (60, 0, -1, -1e300, 1e300, 10**4000, float("nan"), float("inf"), None, True, "61")),
    ],
)
def test_long_pause_is_named(pause: Any, time: str) -> None:
    """Each retry of a short pause would change the text."""
    found = _verdict(_entry("RateLimited", message="429.", retryAfterSeconds=pause))
    sentence = f" The cache asks again at {time} UTC." if time else ""
    assert found.message == f"429.{sentence} {MEANWHILE}"


def test_pause_after_other_failures_is_not_named() -> None:
    assert "asks again" not in _verdict(_entry("ServerError", retryAfterSeconds=600)).message


@given(st.integers(0, 86_400), st.integers(100, 3600), st.integers(0, 39))
def test_time_is_the_same_in_all_answers(start: int, pause: int, later: int) -> None:
    moment = CLOCK + timedelta(seconds=start)
    first = cache_status._minute(pause, moment)
    assert cache_status._minute(pause - later, moment + timedelta(seconds=later)) == first


# Hostile answers

_ENTRIES = st.fixed_dictionaries(
    {},
    optional={
        "url": st.just(URL) | strategies.json_values(),
        "reason": st.sampled_from(list(UpstreamReason)) | strategies.json_values(),
        "message": strategies.json_values(),
        "credentials": st.sampled_from(list(CredentialsResult)) | strategies.json_values(),
        "retryAfterSeconds": strategies.json_values(),
    },
)
_STATUSES = strategies.json_values() | st.fixed_dictionaries(
    {"upstreams": strategies.json_values() | st.lists(_ENTRIES | strategies.json_values(), max_size=3)}
)


@given(st.lists(_STATUSES, max_size=3))
def test_any_answer_gives_a_condition(statuses: list[Any]) -> None:
    answers = {f"pod-{number}": parse_status(status, CLOCK) for number, status in enumerate(statuses)}
    mirror = parsed(a_mirror().of(URL))
    found = upstream_conditions.upstream_reachable(stored(), mirror, [verdict_of(URL, answers)])
    assert found.reason in set(UpstreamReason)
    assert found.message.isprintable()
    assert len(found.message) < condition.MESSAGE_MAX


@pytest.mark.parametrize(
    "status", [None, 5, "text", [], {}, {"upstreams": None}, {"upstreams": {}}, {"state": "configured"}]
)
def test_other_programs_are_no_caches(status: object) -> None:
    assert parse_status(status, CLOCK) is None


@pytest.mark.parametrize("entry", [None, 5, "text", [], {}, {"url": URL}, _entry(5), _entry(message=None)])
def test_malformed_upstreams_are_skipped(entry: object) -> None:
    assert _answer(entry, _entry()) == _answer(_entry())


def test_longest_message_fits() -> None:
    """No sentence behind it is cut, not even in Ready."""
    name = "m" * 36
    entry = _entry("RateLimited", message="x" * 5000, retryAfterSeconds=3600)
    answers = {f"registry-mirror-{name}-{number}": _answer(each) for number, each in enumerate((_entry(), entry))}
    found = upstream_conditions.upstream_reachable(stored(), parsed(), [verdict_of(URL, answers)])
    (ready,) = conditions.merged([conditions.ready([found])], [], 1, NOW)
    assert ready["message"].endswith(f"{'x' * (MESSAGE_MAX - 3)}... The cache asks again at 13:01 UTC. {MEANWHILE}")
