"""Ranges, owners, retry times and the state of an upstream."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.limited_dict import LimitedDict
from cache.model.errors import RegistryError
from cache.replicas.rendezvous import ranked
from cache.server.byte_range import ByteRange, UnsatisfiableError, requested_range
from cache.upstream.failures import retry_after
from cache.upstream.health import NO_LIMIT, Health
from common.cache_protocol import UpstreamReason as Reason

OUTAGE = RegistryError(503, "x", reason=Reason.SERVER_ERROR)
MEMBERS = [f"cache-{number}" for number in range(5)]


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("bytes=0-", ByteRange(0, 10)),
        ("bytes=3-5", ByteRange(3, 6)),
        ("bytes=3-500", ByteRange(3, 10)),
        ("bytes=-4", ByteRange(6, 10)),
        ("bytes=-40", ByteRange(0, 10)),
        ("bytes=5-3", None),
        ("bytes=0-1,3-4", None),
        ("lines=1-2", None),
        ("bytes=-", None),
    ],
)
def test_range_of_ten_bytes(header: str | None, expected: ByteRange | None) -> None:
    """A single range is understood; anything else is ignored."""
    assert requested_range(header, 10) == expected


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=-0"])
def test_range_outside_is_unsatisfiable(header: str) -> None:
    """A range beyond the end is an error."""
    with pytest.raises(UnsatisfiableError):
        requested_range(header, 10)


@given(st.text(max_size=30), st.sampled_from(MEMBERS))
def test_lost_member_moves_only_its_keys(key: str, lost: str) -> None:
    """All other keys keep their owner."""
    before = ranked(MEMBERS, key)
    after = ranked([each for each in MEMBERS if each != lost], key)
    assert after == [each for each in before if each != lost]


def test_keys_are_spread() -> None:
    """Each member owns a fair part."""
    owners = [ranked(MEMBERS, str(number))[0] for number in range(1000)]
    assert all(120 < owners.count(each) < 280 for each in MEMBERS)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("120", 120.0),
        ("Mon, 30 Nov 2026 12:01:00 GMT", 60.0),
        ("Mon, 30 Nov 2026 11:00:00 GMT", 0.0),
        ("x", None),
        (None, None),
    ],
)
def test_retry_after(header: str | None, expected: float | None) -> None:
    """Seconds and dates are understood."""
    assert retry_after(header, datetime(2026, 11, 30, 12, 0, tzinfo=UTC)) == expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("76;w=21600", 76),
        ("0;w=21600", 0),
        (" 5 ", 5),
        ("5", 5),
        ("", None),
        ("-1;w=21600", None),
        ("many", None),
        ("\u0661", None),
        ("9" * 5000, None),
    ],
)
def test_rate_limit_headers(header: str, expected: int | None) -> None:
    """A number before a semicolon counts. An answer without one changes nothing."""
    health = Health()
    health.note_limit({"ratelimit-limit": header, "ratelimit-remaining": header}, 0.0)
    found = health.rate_limit(0.0)
    assert (found.limit, found.remaining) == (expected or None, expected)
    health.note_limit({"ratelimit-limit": "200", "ratelimit-remaining": "100"}, 0.0)
    for headers in ({}, {"ratelimit-limit": "x", "ratelimit-remaining": "y"}):
        health.note_limit(headers, 0.0)
        found = health.rate_limit(0.0)
        assert (found.limit, found.remaining) == (200, 100)


@pytest.mark.parametrize(
    ("period", "seconds"), [(";w=60", 60), ("", 21600), (";w=x", 21600), (";w=0", 21600), (";w=999999999", 86400)]
)
def test_rate_limit_ends_with_its_period(period: str, seconds: int) -> None:
    """An upstream that is not asked for a while names no further limit. A low one would alert on."""
    health = Health()
    health.note_limit({"ratelimit-limit": f"100{period}", "ratelimit-remaining": f"3{period}"}, 10.0)
    assert health.rate_limit(9.0 + seconds).remaining == 3
    assert health.rate_limit(10.0 + seconds) == NO_LIMIT


def test_new_credentials_end_the_rate_limit() -> None:
    """The limit belongs to an account."""
    health = Health()
    health.note_limit({"ratelimit-remaining": "3"}, 0.0)
    health.renew()
    assert health.rate_limit(0.0) == NO_LIMIT


def test_outage_pauses_all_requests() -> None:
    """Pauses double up to a limit, and one success ends them."""
    health = Health()
    for number, pause in enumerate((2.0, 4.0, 8.0, 16.0, 30.0, 30.0)):
        health.failed("blobs", OUTAGE, 100.0 * number)
        assert health.refusal("manifests", 100.0 * number + pause - 0.1) is not None
        assert health.refusal("manifests", 100.0 * number + pause) is None
    health.succeeded("blobs", 1000.0)
    assert health.refusal("blobs", 1000.0) is None
    assert health.reason == "Reachable"


def test_failures_of_one_moment_count_once() -> None:
    """Many requests in flight do not lengthen the pause."""
    health = Health()
    for number in range(10):
        health.failed("blobs", OUTAGE, number / 10)
    assert health.refusal("blobs", 1.9) is not None
    assert health.refusal("blobs", 2.0) is None


def test_failing_image_pauses_its_repository() -> None:
    """An upstream that fails for one image may serve all others."""
    health = Health()
    for number in range(0, 30, 3):
        health.failed("manifests", OUTAGE, float(number), "bad")
        assert health.refusal("blobs", number + 1.9, "bad") is not None
        assert health.refusal("blobs", number + 2.0, "bad") is None
        assert health.refusal("manifests", float(number), "good") is None
    assert health.reason == Reason.SERVER_ERROR


def test_two_failing_repositories_pause_all() -> None:
    """Failures of two images are no outage if another one was served in between."""
    health = Health()
    health.failed("manifests", OUTAGE, 0.0, "bad")
    health.succeeded("blobs", 1.0)
    health.failed("blobs", OUTAGE, 10.0, "worse")
    assert health.refusal("manifests", 10.0, "good") is None
    health.failed("blobs", OUTAGE, 11.0, "bad")
    assert health.refusal("manifests", 12.9, "good") is not None
    for time, until in ((13.0, 17.0), (17.0, 25.0)):
        health.failed("manifests", OUTAGE, time, "good")
        assert health.refusal("blobs", until - 0.1, "other") is not None
        assert health.refusal("blobs", until, "other") is None


def test_rate_limit_pauses_its_kind() -> None:
    """Other kinds go on, and the reason stays until the pause ends."""
    health = Health()
    health.failed("manifests", RegistryError(429, "x", retry_after=50.0, reason=Reason.RATE_LIMITED), 0.0)
    health.succeeded("blobs", 1.0)
    refusal = health.refusal("manifests", 10.0)
    assert refusal is not None
    assert refusal.retry_after == 40.0
    assert health.refusal("blobs", 10.0) is None
    assert health.reason == "RateLimited"
    health.succeeded("blobs", 51.0)
    assert health.reason == "Reachable"


def test_probe_is_due_again() -> None:
    """At once, every five minutes, and every thirty seconds while the upstream is away."""
    health = Health()
    assert health.begin_probe(0.0)
    assert not health.begin_probe(29.0)
    health.succeeded("", 29.0)
    assert not health.begin_probe(299.0)
    assert health.begin_probe(300.0)
    health.failed("", OUTAGE, 300.0)
    assert not health.begin_probe(329.0)
    assert health.begin_probe(330.0)


def test_probe_waits_for_retry_after() -> None:
    """New credentials end a limit."""
    health = Health()
    health.failed("manifests", RegistryError(429, "x", retry_after=500.0, reason=Reason.RATE_LIMITED), 0.0)
    assert not health.begin_probe(499.0)
    health.renew()
    assert health.begin_probe(499.0)


def test_refused_image_keeps_a_verdict() -> None:
    """Only a usable answer disproves what a probe found."""
    health = Health()
    health.judged(RegistryError(403, "x", reason=Reason.FORBIDDEN), 0.0)
    assert health.refusal("manifests", 0.0) is None
    health.refused("manifests", 1.0)
    assert health.reason == "Forbidden"
    health.succeeded("manifests", 2.0)
    assert health.reason == "Reachable"
    health.failed("blobs", OUTAGE, 3.0)
    health.refused("manifests", 10.0)
    assert health.reason == "Reachable"


def test_full_dictionary_begins_again() -> None:
    """A new key beyond the limit removes all others. An old key removes none."""
    known: LimitedDict[int, str] = LimitedDict(3)
    for key in (1, 2, 3, 1):
        known[key] = "a"
    assert list(known) == [1, 2, 3]
    known[4] = "b"
    assert known == {4: "b"}
