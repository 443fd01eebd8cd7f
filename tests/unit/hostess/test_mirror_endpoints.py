"""Test the parser of Services and EndpointSlices."""

from __future__ import annotations

from typing import Any

import pytest

from hostess.kube.mirror_endpoints import Endpoint, MirrorEndpoints, parse_endpoints

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
def test_service_is_parsed(services: list[dict[str, Any]], expected: MirrorEndpoints) -> None:
    assert parse_endpoints(services, None) == expected


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
def test_ready_endpoints_are_parsed(found: list[dict[str, Any]] | None, ready: tuple[str, ...] | None) -> None:
    endpoints = parse_endpoints([SERVICE], found).endpoints
    assert endpoints == (None if ready is None else tuple(Endpoint(each, 5000) for each in ready))


def test_endpoints_of_the_first_family() -> None:
    service = {"metadata": {"name": "s"}, "spec": {"clusterIPs": ["fd00::7", "10.96.0.7"]}}
    both = [*slices({}, kind="IPv6", first="fd00::"), *slices({})]
    assert parse_endpoints([service], both).endpoints == (Endpoint("fd00::0", 5000),)
