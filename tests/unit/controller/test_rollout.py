"""Test a rollout: ready pods may have the former template and serve the former upstream."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from common import names
from controller.desired import desired_objects
from controller.model.observation import Observation
from controller.objects import rollout
from controller.objects.resources import SERVICE
from controller.status import conditions
from controller.status.status import status_of
from tests.support.controller import NOW, a_stateful_set, inputs, parsed, settings, stored
from tests.support.mirrors import a_mirror

if TYPE_CHECKING:
    from common.types import Json

NEW, FORMER = "https://prod.example.com", "https://staging.example.com"
CHANGED = a_mirror().of(NEW)


def rolling(ready: int, updated: int, replicas: int = 2, *, seen: int = 2) -> Json:
    """Return a StatefulSet of generation 2 during a rollout. `seen` is its observed generation."""
    current = a_stateful_set(ready=ready)
    counts = {"replicas": replicas, "updatedReplicas": updated, "currentRevision": "a", "updateRevision": "b"}
    return {
        **current,
        "metadata": {**current["metadata"], "generation": 2},
        "status": {**current["status"], **counts, "observedGeneration": seen},
    }


def _labelled(current: Json) -> Json:
    """Return the same with the label in its template."""
    template = {"metadata": {"labels": {names.UPSTREAM_LABEL: "x"}}}
    return {**current, "spec": {**current["spec"], "template": template}}


@pytest.mark.parametrize(
    ("current", "rolled"),
    [
        (None, 0),
        (rolling(2, 2, seen=1), 0),  # the counts are older than the change
        (rolling(2, 0), 0),
        (rolling(1, 1), 0),  # the replaced pod is not ready, the other one is
        (rolling(2, 1), 1),
        (rolling(1, 2), 1),
        (a_stateful_set(ready=2), 2),
    ],
)
def test_rolled_replicas(current: Json | None, rolled: int) -> None:
    assert rollout.rolled_replicas(current) == rolled


def test_rollout_is_reported_while_available() -> None:
    obj = {**stored(CHANGED), "status": {"upstream": NEW}}
    found = conditions.cache_available(obj, parsed(CHANGED), Observation(inputs(), stateful_set=rolling(2, 1)))
    assert (found.status, found.reason) == ("True", "RollingOut")
    assert found.message.startswith("2 of 2 cache pods are ready. 1 of them")


def test_pods_of_former_upstream_are_unavailable() -> None:
    obj = {**stored(CHANGED), "status": {"upstream": FORMER}}
    for current, available, upstream in ((rolling(1, 1), "False", FORMER), (rolling(2, 1), "True", NEW)):
        status = status_of(obj, parsed(CHANGED), Observation(inputs(), stateful_set=current), "mirrors", NOW)
        cache = next(each for each in status["conditions"] if each["type"] == "CacheAvailable")
        assert (cache["status"], status["upstream"]) == (available, upstream)
        obj = {**obj, "status": status}


@pytest.mark.parametrize(
    ("upstream", "selected", "current", "unmarked"),
    [
        (NEW, {}, rolling(2, 0), True),
        (NEW, {}, a_stateful_set(ready=2), True),  # its template lacks the label
        (NEW, {}, _labelled(rolling(2, 0)), True),
        (NEW, {}, _labelled(rolling(2, 1)), False),
        (NEW, {}, _labelled(rolling(0, 1)), False),
        (NEW, {names.UPSTREAM_LABEL: "x"}, _labelled(rolling(2, 0)), False),
        (FORMER, {}, rolling(2, 0), False),
    ],
)
def test_service_selects_unlabelled_pods_until_rollout(
    upstream: str, selected: Json, current: Json, *, unmarked: bool
) -> None:
    obj = {**stored(CHANGED), "status": {"upstream": upstream}}
    service = {"spec": {"selector": {"mirror": "docker", **selected}}}
    mirror = parsed(CHANGED)
    assert rollout.is_unmarked(obj, mirror, service, current) is unmarked
    known = replace(inputs(), unmarked=unmarked)
    first = next(body for kind, body in desired_objects(mirror, settings(), known) if kind is SERVICE)
    assert (names.UPSTREAM_LABEL in first["spec"]["selector"]) is not unmarked


def test_status_names_new_upstream_without_pods() -> None:
    obj = {**stored(CHANGED), "status": {"upstream": FORMER}}
    status = status_of(obj, parsed(CHANGED), Observation(inputs(), stateful_set=rolling(0, 1)), "mirrors", NOW)
    assert status["upstream"] == NEW
