"""Whose an object is that has the name of one of ours: only what is ours or nobody's is ever touched."""

from __future__ import annotations

import pytest

from controller.standing import Json, Standing, describe_owner, standing
from tests.support.controller import UID, judged

LABELS = {"app": "docker-registry", "mirror": "docker"}
OURS = {"apiVersion": "k8s.osp.tech/v1", "kind": "RegistryMirror", "name": "docker", "uid": UID, "controller": True}
EARLIER = {**OURS, "uid": "an earlier one"}
NAMESAKE = {**EARLIER, "apiVersion": "mirror.example.com/v1"}  # a kind of another group, called as ours is
THEIRS = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "x", "controller": True}
VISITOR = {"apiVersion": "v1", "kind": "ConfigMap", "name": "note", "uid": "y"}
GOING = {"deletionTimestamp": "2026-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("metadata", "whose"),
    [
        ({"ownerReferences": [OURS], "labels": LABELS}, Standing.OURS),
        ({"ownerReferences": [OURS]}, Standing.OURS),  # labels that somebody took are put back
        ({"ownerReferences": [OURS], "labels": {"mirror": "other"}}, Standing.OURS),
        ({"ownerReferences": [VISITOR, OURS]}, Standing.OURS),
        ({"ownerReferences": [OURS], **GOING}, Standing.PASSING),
        ({"labels": LABELS}, Standing.ORPHAN),
        ({"labels": {**LABELS, "more": "x"}, "ownerReferences": []}, Standing.ORPHAN),
        ({"labels": LABELS, "ownerReferences": [VISITOR]}, Standing.ORPHAN),
        ({"labels": LABELS, **GOING}, Standing.PASSING),
        ({"ownerReferences": [EARLIER], "labels": LABELS}, Standing.PASSING),
        ({"ownerReferences": [EARLIER], "labels": LABELS, **GOING}, Standing.PASSING),
        ({"ownerReferences": [{**EARLIER, "name": "other"}], "labels": LABELS}, Standing.FOREIGN),
        ({"ownerReferences": [NAMESAKE], "labels": LABELS}, Standing.FOREIGN),
        ({"ownerReferences": [THEIRS], "labels": LABELS}, Standing.FOREIGN),
        ({"ownerReferences": [THEIRS], "labels": LABELS, **GOING}, Standing.FOREIGN),
        ({"ownerReferences": [VISITOR]}, Standing.FOREIGN),
        ({"labels": {"mirror": "docker"}}, Standing.FOREIGN),
        ({"labels": {**LABELS, "mirror": "other"}}, Standing.FOREIGN),
        ({"labels": {}}, Standing.FOREIGN),
        ({"labels": None, "ownerReferences": None}, Standing.FOREIGN),
        ({}, Standing.FOREIGN),
        (GOING, Standing.FOREIGN),
    ],
)
def test_standing(metadata: Json, whose: Standing) -> None:
    assert standing({"metadata": metadata}, judged()) is whose


def test_a_foreign_object_is_named_with_its_owner() -> None:
    owned = {"metadata": {"ownerReferences": [VISITOR, THEIRS]}}
    assert describe_owner(owned) == "belongs to Deployment.apps web"
    assert describe_owner({"metadata": {}}) == "has no owner and not our labels"
