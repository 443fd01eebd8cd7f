"""What the Service and its slices say."""

from __future__ import annotations

from typing import Any

import pytest

from hostess.kube.mirror_endpoints import Endpoint, MirrorEndpoints, view_of

SERVICE = {"metadata": {"name": "s"}, "spec": {"clusterIPs": ["10.96.0.7", "fd00::7"]}}

TERMINATING = {"name": "s", "deletionTimestamp": "2026-01-01T00:00:00Z"}


def cleaning(value: str) -> dict[str, Any]:
    return {**SERVICE, "metadata": {"name": "s", "annotations": {"k8s.osp.tech/cleaning": value}}}


def slices(*conditions: dict[str, Any] | None, kind: str = "IPv4", first: str = "10.0.0.") -> list[dict[str, Any]]:
    endpoints = [
        {"addresses": [f"{first}{number}"], **({} if each is None else {"conditions": each})}
        for number, each in enumerate(conditions)
    ]
    return [{"addressType": kind, "endpoints": endpoints, "ports": [{"name": "https", "port": 5000}]}]


@pytest.mark.parametrize(
    ("services", "expected"),
    [
        ([], MirrorEndpoints(removed=True)),
        ([{**SERVICE, "metadata": TERMINATING}], MirrorEndpoints(("10.96.0.7", "fd00::7"), removed=True)),
        ([SERVICE], MirrorEndpoints(("10.96.0.7", "fd00::7"))),
        ([{"metadata": {}, "spec": {"clusterIPs": ["None"]}}], MirrorEndpoints()),
        ([{"metadata": {}, "spec": {}}], MirrorEndpoints()),
        ([cleaning("some-uid")], MirrorEndpoints(("10.96.0.7", "fd00::7"), cleaning=True)),
        ([cleaning("")], MirrorEndpoints(("10.96.0.7", "fd00::7"))),
    ],
)
def test_a_service_says_addresses_and_whether_to_clean(
    services: list[dict[str, Any]], expected: MirrorEndpoints
) -> None:
    assert view_of(services, None) == expected


@pytest.mark.parametrize(
    ("found", "ready"),
    [
        (None, None),
        ([], ()),
        ([{"addressType": "IPv4", "endpoints": None}], ()),
        (slices({"ready": True}, {"ready": False}, {}, None), ("10.0.0.0", "10.0.0.2", "10.0.0.3")),
        (slices({"ready": False, "serving": True, "terminating": True}), ()),
        ([*slices({"ready": True}, first="10.0.1."), *slices({"ready": True})], ("10.0.0.0", "10.0.1.0")),
        ([*slices({"ready": True}), *slices({"ready": True})], ("10.0.0.0",)),  # a pod moves between slices
        ([*slices({"ready": True}, kind="IPv6", first="fd00::"), *slices({"ready": True})], ("10.0.0.0",)),
    ],
)
def test_ready_endpoints_are_told_once_they_were_seen(
    found: list[dict[str, Any]] | None, ready: tuple[str, ...] | None
) -> None:
    endpoints = view_of([SERVICE], found).endpoints
    assert endpoints == (None if ready is None else tuple(Endpoint(each, 5000) for each in ready))


def test_endpoints_are_those_of_the_family_that_is_asked() -> None:
    service = {"metadata": {"name": "s"}, "spec": {"clusterIPs": ["fd00::7", "10.96.0.7"]}}
    both = [*slices({}, kind="IPv6", first="fd00::"), *slices({})]
    assert view_of([service], both).endpoints == (Endpoint("fd00::0", 5000),)
