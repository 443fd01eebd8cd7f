"""A certificate's end is told in time, without a mirror that works being called unready."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta

import pytest

from controller.certificates.expiry import Source, certificate_valid, seconds_to_change
from controller.certificates.x509 import dates_of, issue_ca, issue_certificate
from controller.model.certificate_lifetimes import DEFAULT, Lifetimes
from controller.model.inputs import MissingInput
from controller.status import conditions

NOW = datetime(2026, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)
SERVING = issue_certificate(issue_ca("theirs", NOW), ("*.example.com",), NOW).certificate
END = NOW + DEFAULT.certificate


@pytest.mark.parametrize(
    ("moment", "status", "reason"),
    [
        (NOW, "True", "Valid"),
        (END - 14 * DAY - timedelta(seconds=1), "True", "Valid"),
        (END - 14 * DAY, "True", "ExpiresSoon"),
        (END - timedelta(seconds=1), "True", "ExpiresSoon"),
        (END, "False", "Expired"),
    ],
)
def test_the_end_is_told_two_weeks_before(moment: datetime, status: str, reason: str) -> None:
    found = certificate_valid(Source("Secret own"), SERVING, "mirror.example.com", moment, DEFAULT.warning)
    assert (found.status, found.reason) == (status, reason)
    assert found.message.startswith("The certificate in Secret own ")
    assert "2027-06-01 00:00 UTC" in found.message
    assert (conditions.ready([found]).status == "True") is (status == "True")


def test_each_change_of_it_brings_the_mirror_back() -> None:
    assert seconds_to_change(SERVING, NOW, DEFAULT.warning) == (END - 14 * DAY - NOW).total_seconds()
    assert seconds_to_change(SERVING, END - DAY, DEFAULT.warning) == DAY.total_seconds()
    assert seconds_to_change(SERVING, END, DEFAULT.warning) is None
    assert seconds_to_change("no certificate", NOW, DEFAULT.warning) is None


def test_one_that_is_not_for_the_mirrors_name_says_which_is_missing() -> None:
    found = certificate_valid(Source("Secret own"), SERVING, "mirror-quay.io", NOW, DEFAULT.warning)
    assert (found.status, found.reason) == ("False", "NameMissing")
    assert "not for mirror-quay.io, which nodes use" in found.message


def test_one_that_lives_for_days_is_warned_of_in_the_last_sixth_of_its_life() -> None:
    """A machine renews it each few days: a warning that always stands is none."""
    begin, end = dates_of(SERVING) or pytest.fail("no certificate")
    sixth = (end - begin) / 6
    assert certificate_valid(Source("x"), SERVING, "a.example.com", end - sixth - DAY, 999 * DAY).reason == "Valid"
    assert certificate_valid(Source("x"), SERVING, "a.example.com", end - sixth, 999 * DAY).reason == "ExpiresSoon"


def test_text_that_is_no_certificate_is_told() -> None:
    assert certificate_valid(Source("Secret own"), "x", "mirror-quay.io", NOW, DEFAULT.warning).reason == "Unreadable"


def test_one_that_is_valid_from_tomorrow_is_not_valid_and_looked_at_then() -> None:
    begin, _ = dates_of(SERVING) or pytest.fail("no certificate")
    found = certificate_valid(Source("Secret own"), SERVING, "mirror.example.com", begin - DAY, DEFAULT.warning)
    assert (found.status, found.reason) == ("False", "NotYetValid")
    assert "valid only from 2025-01-01 00:00 UTC on" in found.message
    assert seconds_to_change(SERVING, begin - DAY, DEFAULT.warning) == DAY.total_seconds()
    assert certificate_valid(Source("x"), SERVING, "mirror.example.com", begin, DEFAULT.warning).reason == "Valid"


def test_names_count_in_capitals_too() -> None:
    shouted = issue_certificate(issue_ca("theirs", NOW), ("Mirror-QUAY.io",), NOW).certificate
    assert certificate_valid(Source("x"), shouted, "mirror-quay.io", NOW, DEFAULT.warning).reason == "Valid"


@pytest.mark.parametrize("name", ["mirror-q\u00e4y.io".encode(), "mirror-qua\u00e4.io".encode("latin-1")])
def test_names_that_nobody_can_read_are_told(name: bytes) -> None:
    """A DNS name beyond ASCII, as some tools write it: clients refuse the whole certificate."""
    der = ssl.PEM_cert_to_DER_cert(issue_certificate(issue_ca("theirs", NOW), ("mirror-quay.io",), NOW).certificate)
    # Of the two places the first is the subject's, where UTF-8 may stand.
    broken = name.join(der.rsplit(b"mirror-quay.io", 1))
    found = certificate_valid(
        Source("Secret own"), ssl.DER_cert_to_PEM_cert(broken), "mirror-quay.io", NOW, DEFAULT.warning
    )
    assert (found.status, found.reason) == ("False", "Unreadable")
    assert "cannot be read" in found.message
    assert "Replace it." in found.message


def test_what_lacks_says_nothing_true_of_a_certificate() -> None:
    found = conditions.lacking(MissingInput("CertificateSecretMissing", "create it"))
    assert [(each.type, each.status) for each in found] == [
        ("CacheAvailable", "False"),
        ("CertificateValid", "Unknown"),
    ]


def test_the_defaults_fit_together() -> None:
    assert list(DEFAULT.problems()) == []


@pytest.mark.parametrize(
    ("seconds", "sentence"),
    [
        ((100, 100, 30, 10, 5, 3), "CA_LEAD must be shorter than CA_LIFETIME"),
        ((100, 40, 30, 30, 5, 3), "CERTIFICATE_LEAD must be shorter than CERTIFICATE_LIFETIME"),
        ((100, 34, 30, 10, 5, 3), "CA_LEAD must be at least CERTIFICATE_LIFETIME plus CERTIFICATE_OVERLAP"),
        ((100, 50, 30, 10, 10, 3), "CERTIFICATE_OVERLAP must be shorter than CERTIFICATE_LEAD"),
        ((100, 50, 30, 10, 5, 10), "CERTIFICATE_WARNING must be shorter than CERTIFICATE_LEAD"),
        ((100, 50, 30, 10, 0, 3), "at least 1s each"),
    ],
)
def test_what_does_not_fit_together_is_said_in_a_sentence(seconds: tuple[int, ...], sentence: str) -> None:
    (told,) = Lifetimes(*(timedelta(seconds=each) for each in seconds)).problems()
    assert sentence in told
