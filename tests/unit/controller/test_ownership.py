"""Test the ownership of objects. The controller changes only owned and orphaned ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from controller.objects.ownership import Ownership, describe_owner, ownership_of
from tests.support.controller import UID, parsed

if TYPE_CHECKING:
    from common.types import Json

LABELS = {"app": "docker-registry", "mirror": "docker"}
OURS = {"apiVersion": "k8s.osp.tech/v1", "kind": "RegistryMirror", "name": "docker", "uid": UID, "controller": True}
EARLIER = {**OURS, "uid": "an earlier one"}
NAMESAKE = {**EARLIER, "apiVersion": "mirror.example.com/v1"}  # a kind of that name in another group
THEIRS = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "x", "controller": True}
VISITOR = {"apiVersion": "v1", "kind": "ConfigMap", "name": "note", "uid": "y"}
GOING = {"deletionTimestamp": "2026-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("metadata", "ownership"),
    [
        ({"ownerReferences": [OURS], "labels": LABELS}, Ownership.OWNED),
        ({"ownerReferences": [OURS]}, Ownership.OWNED),  # removed labels are restored
        ({"ownerReferences": [OURS], "labels": {"mirror": "other"}}, Ownership.OWNED),
        ({"ownerReferences": [VISITOR, OURS]}, Ownership.OWNED),
        ({"ownerReferences": [OURS], **GOING}, Ownership.TERMINATING),
        ({"labels": LABELS}, Ownership.ORPHANED),
        ({"labels": {**LABELS, "more": "x"}, "ownerReferences": []}, Ownership.ORPHANED),
        ({"labels": LABELS, "ownerReferences": [VISITOR]}, Ownership.ORPHANED),
        ({"labels": LABELS, **GOING}, Ownership.TERMINATING),
        ({"ownerReferences": [EARLIER], "labels": LABELS}, Ownership.TERMINATING),
        ({"ownerReferences": [EARLIER], "labels": LABELS, **GOING}, Ownership.TERMINATING),
        ({"ownerReferences": [{**EARLIER, "name": "other"}], "labels": LABELS}, Ownership.NOT_OWNED),
        ({"ownerReferences": [NAMESAKE], "labels": LABELS}, Ownership.NOT_OWNED),
        ({"ownerReferences": [THEIRS], "labels": LABELS}, Ownership.NOT_OWNED),
        ({"ownerReferences": [THEIRS], "labels": LABELS, **GOING}, Ownership.NOT_OWNED),
        ({"ownerReferences": [VISITOR]}, Ownership.NOT_OWNED),
        ({"labels": {"mirror": "docker"}}, Ownership.NOT_OWNED),
        ({"labels": {**LABELS, "mirror": "other"}}, Ownership.NOT_OWNED),
        ({"labels": {}}, Ownership.NOT_OWNED),
        ({"labels": None, "ownerReferences": None}, Ownership.NOT_OWNED),
        ({}, Ownership.NOT_OWNED),
        (GOING, Ownership.NOT_OWNED),
    ],
)
def test_ownership(metadata: Json, ownership: Ownership) -> None:
    assert ownership_of({"metadata": metadata}, parsed()) is ownership


def test_owner_is_described() -> None:
    owned = {"metadata": {"ownerReferences": [VISITOR, THEIRS]}}
    assert describe_owner(owned) == "belongs to Deployment.apps web"
    assert describe_owner({"metadata": {}}) == "has no owner and not our labels"
