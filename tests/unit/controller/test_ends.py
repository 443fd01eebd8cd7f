"""The end of what belongs to no mirror is told in the log, once a day, until it is renewed."""

from __future__ import annotations

import base64
import io
import json
from datetime import UTC, datetime, timedelta

from common.logs import logger
from controller.certificates.expiry import ExpiryWarner
from controller.certificates.x509 import issue_ca
from controller.informer.cluster_cache import ClusterCache
from controller.model.certificate_lifetimes import DEFAULT
from controller.objects.well_known import WEBHOOK_CA, WEBHOOK_CERTIFICATE

NOW = datetime(2026, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)
END = NOW + DEFAULT.ca


def _put(state: ClusterCache, name: str, version: int, made: datetime) -> None:
    text = issue_ca("x", made).certificate.encode()
    metadata = {"name": name, "resourceVersion": str(version)}
    state.secrets.put({"metadata": metadata, "data": {"tls.crt": base64.b64encode(text).decode()}})


def test_a_certificate_near_its_end_is_told_once_a_day_until_it_is_renewed() -> None:
    stream, state = io.StringIO(), ClusterCache(lambda _: None)
    warner = ExpiryWarner(state, DEFAULT.warning, logger("INFO", "controller", stream))
    _put(state, WEBHOOK_CERTIFICATE, 1, NOW)
    _put(state, WEBHOOK_CA, 2, NOW + 999 * DAY)
    warner.warn(END - 15 * DAY, 0.0)
    assert stream.getvalue() == ""
    for halves in range(6):
        warner.warn(END - 14 * DAY + halves * DAY / 2, halves * 43_200.0)
    told = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [(each["event"], each["level"], each["secret"]) for each in told] == [
        ("certificate expires soon", "warning", WEBHOOK_CERTIFICATE)
    ] * 3
    assert told[0]["until"] == END.isoformat()
    _put(state, WEBHOOK_CERTIFICATE, 3, NOW + 365 * DAY)
    warner.warn(END - DAY, 6 * 43_200.0)
    assert len(stream.getvalue().splitlines()) == 3
