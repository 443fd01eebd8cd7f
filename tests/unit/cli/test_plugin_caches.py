from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from cli.caches import Caches
from cli.commands import images, purge, top
from cli.kubectl import KubectlError
from cli.metrics import Sample, samples, total
from cli.redact import BLANK, without_logins, without_secrets

if TYPE_CHECKING:
    from cli.kubectl import Json

NOW = datetime(2026, 1, 2, tzinfo=UTC)
PAGE = """\
# HELP registrymirror_cache_requests_total Requests.
# TYPE registrymirror_cache_requests_total counter
registrymirror_cache_requests_total{client="node",kind="blobs",result="hit",upstream="quay.io"} 6.0
registrymirror_cache_requests_total{client="node",kind="blobs",result="peer",upstream="quay.io"} 2.0
registrymirror_cache_requests_total{client="node",kind="blobs",result="refused",upstream="quay.io"} 5.0
registrymirror_cache_requests_total{client="replica",kind="blobs",result="hit",upstream="quay.io"} 1.0
registrymirror_cache_requests_total{client="replica",kind="blobs",result="miss",upstream="quay.io"} 1.0
registrymirror_cache_requests_total{client="node",kind="blobs",result="miss",upstream="quay.io"} 1.0
registrymirror_cache_pulls_total{upstream="quay.io"} 3.0
registrymirror_cache_served_bytes_total{client="node",upstream="quay.io"} 950.0
registrymirror_cache_served_bytes_total{client="replica",upstream="quay.io"} 50.0
registrymirror_cache_received_bytes_total{source="upstream",upstream="quay.io"} 100.0
registrymirror_cache_received_bytes_total{source="peer",upstream="quay.io"} 50.0
registrymirror_cache_free_bytes 7e+03
registrymirror_cache_repository_requests_total{name="a\\"b}",upstream="quay.io"} 3.0
registrymirror_cache_repository_requests_total{name="b",upstream="quay.io"} 4.0
"""


def test_page_of_prometheus_is_read() -> None:
    found = list(samples(PAGE))
    assert len(found) == 14
    assert found[-2] == Sample(
        "registrymirror_cache_repository_requests_total", {"name": 'a"b}', "upstream": "quay.io"}, 3
    )
    assert total(found, "registrymirror_cache_requests_total", upstream="quay.io") == 16
    assert total(found, "registrymirror_cache_free_bytes") == 7000


def test_traffic_counts_each_byte_once() -> None:
    """Traffic between replicas is none of nodes, but misses of replicas are fetches."""
    (item,) = top.traffic("a", list(samples(PAGE)), 2)
    assert (item["requests"], item["hitRate"]) == (9, 7 / 9)
    assert item["pulls"] == 3
    assert (item["servedBytes"], item["fetchedBytes"], item["savedBytes"]) == (950, 100, 850)
    assert top.percent(item["hitRate"]) == "77.8 %"
    assert top.percent(None) == ""


def test_repositories_are_sorted_by_requests() -> None:
    assert [each["repository"] for each in top.repositories("a", list(samples(PAGE)))] == ["b", 'a"b}']


def test_images_of_replicas_are_merged() -> None:
    image = {"upstream": "quay.io", "repository": "a", "tag": "1", "digest": "sha256:0", "size": 5, "missingBlobs": 0}
    older, newer = (
        {**image, "lastUsed": "2026-01-01T00:00:00+00:00"},
        {**image, "lastUsed": "2026-01-01T23:00:00+00:00"},
    )
    other = {**older, "tag": "", "repository": "", "digest": "sha256:1"}
    first, second = images.merged({"p-0": [older, other], "p-1": [{**newer, "size": 7}]}, NOW)
    assert (first["pods"], first["size"], first["idle"]) == (["p-0", "p-1"], 7, "60m")
    assert (images.name_of(first), images.name_of(second)) == ("quay.io/a:1", "sha256:1")


def cache(name: str, **state: dict[str, str]) -> Json:
    """Return a cache pod whose container has a state."""
    status = {"phase": "Running", "containerStatuses": [{"name": "cache", "state": state}]}
    return {"metadata": {"name": name}, "status": status}


def test_silent_cache_does_not_hide_the_others() -> None:
    crashing = cache("a-1", waiting={"reason": "CrashLoopBackOff", "message": "back-off 5m0s"})
    leaving = cache("a-3", running={})
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    caches = Caches.of([cache("a-0", running={}), crashing, cache("a-2", running={}), leaving])

    def work(pod: Json) -> str:
        if pod["metadata"]["name"] == "a-2":
            raise KubectlError("error dialing backend")
        return "text"

    assert caches.ask(work) == {"a-0": "text"}
    assert caches.silent == {
        "a-1": "CrashLoopBackOff: back-off 5m0s",
        "a-2": "error dialing backend",
        "a-3": "It is being deleted.",
    }
    assert [each["metadata"]["name"] for each in caches.pods] == ["a-0"], "the others are not asked again"


@pytest.mark.parametrize("text", ["pods is forbidden: no", "invalid image\ncommand terminated with exit code 2"])
def test_refusal_of_the_user_is_no_silence(text: str) -> None:
    """All pods refuse it."""

    def work(_: Json) -> str:
        raise KubectlError(text)

    with pytest.raises(KubectlError, match=re.escape(text)):
        Caches.of([cache("a-0", running={})]).ask(work)


def test_missing_replica_is_known() -> None:
    sets = [{"metadata": {"name": "registry-mirror-a"}, "spec": {"replicas": 2}}]
    assert purge.replicas_of(sets) == {"registry-mirror-a-0", "registry-mirror-a-1"}


def test_secret_keeps_its_keys_only() -> None:
    annotations = {"kubectl.kubernetes.io/last-applied-configuration": "c2VjcmV0", "other": "x"}
    secret = {"kind": "Secret", "metadata": {"name": "s", "annotations": annotations}, "data": {"password": "c2VjcmV0"}}
    found = without_secrets(secret)
    assert "c2VjcmV0" not in str(found)
    assert found["data"] == {"password": BLANK}
    assert found["metadata"]["annotations"]["other"] == "x"
    config_map = {"kind": "ConfigMap", "data": {"a": "b"}}
    assert without_secrets(config_map) == config_map


def test_logins_in_texts_are_blanked() -> None:
    key = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEI\n-----END EC PRIVATE KEY-----"
    token = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJrdWJlIn0.c2lnbmF0dXJl"
    text = f"http://robot:pass@proxy:3128 Authorization: Basic cm9ib3Q6cGFzcw== {token} {key} mail@example.com"
    found = without_logins(text)
    assert found == f"http://{BLANK}@proxy:3128 Authorization: Basic {BLANK} {BLANK} {BLANK} mail@example.com"
