"""Test that differences in immutable fields are found before a patch is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from controller.desired import desired_objects
from controller.objects.immutable_fields import immutable_differences, without_immutable
from controller.objects.resources import BUDGET, DAEMON_SET, SECRET, SERVICE, STATEFUL_SET, Kind
from tests.support.controller import inputs, merged, parsed, settings

if TYPE_CHECKING:
    from common.types import Json

OBJECTS = desired_objects(parsed(), settings(), inputs())
DESIRED = {(kind, body["metadata"]["name"]): body for kind, body in OBJECTS}
NAME = "registry-mirror-docker"
HEADLESS = f"{NAME}-headless"


@pytest.mark.parametrize(
    ("kind", "name", "change", "paths"),
    [
        (STATEFUL_SET, NAME, {"spec": {"selector": {"matchLabels": {"tier": "x"}}}}, ["spec.selector"]),
        (STATEFUL_SET, NAME, {"spec": {"selector": {"matchExpressions": [{"key": "x"}]}}}, ["spec.selector"]),
        (STATEFUL_SET, NAME, {"spec": {"serviceName": "other"}}, ["spec.serviceName"]),
        (STATEFUL_SET, NAME, {"spec": {"serviceName": None}}, ["spec.serviceName"]),
        (STATEFUL_SET, NAME, {"spec": {"podManagementPolicy": "OrderedReady"}}, ["spec.podManagementPolicy"]),
        (STATEFUL_SET, NAME, {"spec": {"replicas": 9}}, []),
        (STATEFUL_SET, NAME, {"spec": {"volumeClaimTemplates": []}}, ["spec.volumeClaimTemplates"]),
        (
            STATEFUL_SET,
            NAME,
            {"spec": {"volumeClaimTemplates": [{"metadata": {"name": "data"}}]}},
            ["spec.volumeClaimTemplates"],
        ),
        (DAEMON_SET, NAME, {"spec": {"selector": {"matchLabels": {"component": None}}}}, ["spec.selector"]),
        (DAEMON_SET, NAME, {"spec": {"template": {}}}, []),
        (SERVICE, NAME, {"spec": {"clusterIP": "10.0.0.1", "ports": []}}, []),
        (SERVICE, NAME, {"spec": {"clusterIP": "None"}}, ["spec.clusterIP"]),
        (SERVICE, HEADLESS, {"spec": {"clusterIP": "10.0.0.1"}}, ["spec.clusterIP"]),
        (BUDGET, NAME, {"spec": {"selector": {}}}, []),
        (SECRET, NAME, {"data": None}, []),
        (SECRET, NAME, {"immutable": False}, []),
        (SECRET, NAME, {"immutable": True}, []),
        (SECRET, NAME, {"immutable": True, "metadata": {"labels": None}}, []),
        (SECRET, NAME, {"immutable": True, "data": {"config.json": "eA=="}}, ["immutable"]),
        (SECRET, NAME, {"immutable": True, "data": None}, ["immutable"]),
        (SECRET, NAME, {"type": "kubernetes.io/tls"}, ["type"]),
    ],
)
def test_immutable_differences(kind: Kind, name: str, change: Json, paths: list[str]) -> None:
    desired = DESIRED[kind, name]
    assert immutable_differences(kind, merged(desired, change), desired) == paths


@pytest.mark.parametrize(("kind", "body"), OBJECTS, ids=lambda value: getattr(value, "name", ""))
def test_own_objects_have_no_immutable_difference(kind: Kind, body: Json) -> None:
    assert immutable_differences(kind, body, body) == []


@pytest.mark.parametrize(("kind", "body"), OBJECTS, ids=lambda value: getattr(value, "name", ""))
def test_patch_lacks_only_the_claim_template(kind: Kind, body: Json) -> None:
    before = repr(body)
    sent = without_immutable(kind, body)
    dropped = set(body.get("spec", {})) - set(sent.get("spec", {}))
    assert dropped == ({"volumeClaimTemplates"} if kind is STATEFUL_SET else set())
    assert repr(body) == before
