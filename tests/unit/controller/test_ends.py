"""The end of what belongs to no mirror is told in the log, once a day, until it is renewed."""

from __future__ import annotations

import base64
import io
import json
from datetime import UTC, datetime, timedelta

from common.logs import logger
from controller.certificates.expiry_warner import ExpiryWarner
from controller.certificates.x509 import issue_authority
from controller.informer.cluster_cache import ClusterCache
from controller.model.certificate_lifetimes import DEFAULT
from controller.objects.well_known import WEBHOOK_AUTHORITY, WEBHOOK_CERTIFICATE

NOW = datetime(2026, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)
END = NOW + DEFAULT.authority


def _put(state: ClusterCache, name: str, version: int, made: datetime) -> None:
    text = issue_authority("x", made).certificate.encode()
    metadata = {"name": name, "resourceVersion": str(version)}
    state.secrets.put({"metadata": metadata, "data": {"tls.crt": base64.b64encode(text).decode()}})


def test_a_certificate_near_its_end_is_told_once_a_day_until_it_is_renewed() -> None:
    stream, state = io.StringIO(), ClusterCache(lambda _: None)
    ends = ExpiryWarner(state, DEFAULT.warning, logger("INFO", "controller", stream))
    _put(state, WEBHOOK_CERTIFICATE, 1, NOW)
    _put(state, WEBHOOK_AUTHORITY, 2, NOW + 999 * DAY)
    ends.tell(END - 15 * DAY, 0.0)
    assert stream.getvalue() == ""
    for halves in range(6):
        ends.tell(END - 14 * DAY + halves * DAY / 2, halves * 43_200.0)
    told = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [(each["event"], each["level"], each["secret"]) for each in told] == [
        ("certificate ends soon", "warning", WEBHOOK_CERTIFICATE)
    ] * 3
    assert told[0]["until"] == END.isoformat()
    _put(state, WEBHOOK_CERTIFICATE, 3, NOW + 365 * DAY)
    ends.tell(END - DAY, 6 * 43_200.0)
    assert len(stream.getvalue().splitlines()) == 3
