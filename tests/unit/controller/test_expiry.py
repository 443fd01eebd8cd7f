"""Report certificates that expire, and inconsistent lifetimes."""

from __future__ import annotations

import base64
import io
import json
import ssl
from datetime import UTC, datetime, timedelta

import pytest

from common.logs import logger
from controller.certificates.expiry import ExpiryWarner, Source, certificate_valid, seconds_to_change
from controller.certificates.x509 import dates_of, issue_ca, issue_certificate
from controller.informer.cluster_cache import ClusterCache
from controller.model.certificate_lifetimes import DEFAULT, Lifetimes
from controller.model.inputs import MissingInput
from controller.objects.well_known import WEBHOOK_CA, WEBHOOK_CERTIFICATE
from controller.status import conditions

NOW = datetime(2026, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)
SERVING = issue_certificate(issue_ca("theirs", NOW), ("*.example.com",), NOW).certificate
END = NOW + DEFAULT.certificate
CA_END = NOW + DEFAULT.ca


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
def test_condition_warns_two_weeks_before_expiry(moment: datetime, status: str, reason: str) -> None:
    found = certificate_valid(Source("Secret own"), SERVING, "mirror.example.com", moment, DEFAULT.warning)
    assert (found.status, found.reason) == (status, reason)
    assert found.message.startswith("The certificate in Secret own ")
    assert "2027-06-01 00:00 UTC" in found.message
    assert (conditions.ready([found]).status == "True") is (status == "True")


def test_condition_change_requeues_the_mirror() -> None:
    assert seconds_to_change(SERVING, NOW, DEFAULT.warning) == (END - 14 * DAY - NOW).total_seconds()
    assert seconds_to_change(SERVING, END - DAY, DEFAULT.warning) == DAY.total_seconds()
    assert seconds_to_change(SERVING, END, DEFAULT.warning) is None
    assert seconds_to_change("no certificate", NOW, DEFAULT.warning) is None


def test_condition_names_missing_host() -> None:
    found = certificate_valid(Source("Secret own"), SERVING, "mirror-quay.io", NOW, DEFAULT.warning)
    assert (found.status, found.reason) == ("False", "NameMissing")
    assert "not for mirror-quay.io, which nodes use" in found.message


def test_short_lived_certificate_warns_late() -> None:
    """A certificate that is renewed every few days must not warn all the time."""
    begin, end = dates_of(SERVING) or pytest.fail("no certificate")
    sixth = (end - begin) / 6
    assert certificate_valid(Source("x"), SERVING, "a.example.com", end - sixth - DAY, 999 * DAY).reason == "Valid"
    assert certificate_valid(Source("x"), SERVING, "a.example.com", end - sixth, 999 * DAY).reason == "ExpiresSoon"


def test_text_without_certificate_is_unreadable() -> None:
    assert certificate_valid(Source("Secret own"), "x", "mirror-quay.io", NOW, DEFAULT.warning).reason == "Unreadable"


def test_future_certificate_is_not_yet_valid() -> None:
    begin, _ = dates_of(SERVING) or pytest.fail("no certificate")
    found = certificate_valid(Source("Secret own"), SERVING, "mirror.example.com", begin - DAY, DEFAULT.warning)
    assert (found.status, found.reason) == ("False", "NotYetValid")
    assert "valid only from 2025-01-01 00:00 UTC on" in found.message
    assert seconds_to_change(SERVING, begin - DAY, DEFAULT.warning) == DAY.total_seconds()
    assert certificate_valid(Source("x"), SERVING, "mirror.example.com", begin, DEFAULT.warning).reason == "Valid"


def test_host_names_ignore_case() -> None:
    upper = issue_certificate(issue_ca("theirs", NOW), ("Mirror-QUAY.io",), NOW).certificate
    assert certificate_valid(Source("x"), upper, "mirror-quay.io", NOW, DEFAULT.warning).reason == "Valid"


@pytest.mark.parametrize("name", ["mirror-q\u00e4y.io".encode(), "mirror-qua\u00e4.io".encode("latin-1")])
def test_non_ascii_host_name_is_unreadable(name: bytes) -> None:
    """Clients refuse a certificate with such a DNS name."""
    der = ssl.PEM_cert_to_DER_cert(issue_certificate(issue_ca("theirs", NOW), ("mirror-quay.io",), NOW).certificate)
    # The first of two places is the subject, which may be UTF-8.
    broken = name.join(der.rsplit(b"mirror-quay.io", 1))
    found = certificate_valid(
        Source("Secret own"), ssl.DER_cert_to_PEM_cert(broken), "mirror-quay.io", NOW, DEFAULT.warning
    )
    assert (found.status, found.reason) == ("False", "Unreadable")
    assert "cannot be read" in found.message
    assert "Replace it." in found.message


def test_missing_input_makes_certificate_unknown() -> None:
    found = conditions.missing_input(MissingInput("CertificateSecretMissing", "create it"))
    assert [(each.type, each.status) for each in found] == [
        ("CacheAvailable", "False"),
        ("CertificateValid", "Unknown"),
    ]


def test_default_lifetimes_are_consistent() -> None:
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
def test_inconsistent_lifetimes_are_reported(seconds: tuple[int, ...], sentence: str) -> None:
    (message,) = Lifetimes(*(timedelta(seconds=each) for each in seconds)).problems()
    assert sentence in message


def _put(state: ClusterCache, name: str, version: int, made: datetime) -> None:
    text = issue_ca("x", made).certificate.encode()
    metadata = {"name": name, "resourceVersion": str(version)}
    state.secrets.put({"metadata": metadata, "data": {"tls.crt": base64.b64encode(text).decode()}})


def test_expiry_is_logged_once_a_day() -> None:
    stream, state = io.StringIO(), ClusterCache(lambda _: None)
    warner = ExpiryWarner(state, DEFAULT.warning, logger("INFO", "controller", stream))
    _put(state, WEBHOOK_CERTIFICATE, 1, NOW)
    _put(state, WEBHOOK_CA, 2, NOW + 999 * DAY)
    warner.warn(CA_END - 15 * DAY, 0.0)
    assert stream.getvalue() == ""
    for halves in range(6):
        warner.warn(CA_END - 14 * DAY + halves * DAY / 2, halves * 43_200.0)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [(each["event"], each["level"], each["secret"]) for each in lines] == [
        ("certificate expires soon", "warning", WEBHOOK_CERTIFICATE)
    ] * 3
    assert lines[0]["until"] == CA_END.isoformat()
    _put(state, WEBHOOK_CERTIFICATE, 3, NOW + 365 * DAY)
    warner.warn(CA_END - DAY, 6 * 43_200.0)
    assert len(stream.getvalue().splitlines()) == 3
