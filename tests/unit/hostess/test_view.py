"""What the Service and its slices say."""

from __future__ import annotations

from typing import Any

import pytest

from hostess.view import View, view_of

SERVICE = {"metadata": {"name": "s"}, "spec": {"clusterIPs": ["10.96.0.7", "fd00::7"]}}


def cleaning(value: str) -> dict[str, Any]:
    return {**SERVICE, "metadata": {"name": "s", "annotations": {"k8s.osp.tech/cleaning": value}}}


def slices(*conditions: dict[str, Any] | None) -> list[dict[str, Any]]:
    endpoints = [{"addresses": ["x"], **({} if each is None else {"conditions": each})} for each in conditions]
    return [{"endpoints": endpoints}]


@pytest.mark.parametrize(
    ("services", "expected"),
    [
        ([], View()),
        ([SERVICE], View(("10.96.0.7", "fd00::7"))),
        ([{"metadata": {}, "spec": {"clusterIPs": ["None"]}}], View()),
        ([{"metadata": {}, "spec": {}}], View()),
        ([cleaning("some-uid")], View(("10.96.0.7", "fd00::7"), cleaning=True)),
        ([cleaning("")], View(("10.96.0.7", "fd00::7"))),
    ],
)
def test_a_service_says_addresses_and_whether_to_clean(services: list[dict[str, Any]], expected: View) -> None:
    assert view_of(services, None) == expected


@pytest.mark.parametrize(
    ("found", "ready"),
    [
        (None, None),
        ([], 0),
        ([{"endpoints": None}], 0),
        (slices({"ready": True}, {"ready": False}, {}, None), 3),
        (slices({"ready": False, "serving": True, "terminating": True}), 0),
        ([*slices({"ready": True}), *slices({"ready": True})], 2),
    ],
)
def test_ready_endpoints_are_counted_once_they_were_seen(found: list[dict[str, Any]] | None, ready: int | None) -> None:
    assert view_of([SERVICE], found).endpoints == ready
