"""A rollout: what is ready is not what the spec asks for now, and a former upstream is not the new one."""

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
from tests.support.controller import NOW, a_stateful_set, inputs, judged, settings, stored
from tests.support.mirrors import a_mirror

if TYPE_CHECKING:
    from common.types import Json

NEW, FORMER = "https://prod.example.com", "https://staging.example.com"
TURNED = a_mirror().of(NEW)


def rolling(ready: int, updated: int, replicas: int = 2, *, seen: int = 2) -> Json:
    """A StatefulSet of generation 2 whose pods are replaced one by one; `seen` is the generation it counted for."""
    live = a_stateful_set(ready=ready)
    counts = {"replicas": replicas, "updatedReplicas": updated, "currentRevision": "a", "updateRevision": "b"}
    return {
        **live,
        "metadata": {**live["metadata"], "generation": 2},
        "status": {**live["status"], **counts, "observedGeneration": seen},
    }


def _marked(live: Json) -> Json:
    """The same, whose template has the label."""
    template = {"metadata": {"labels": {names.UPSTREAM_LABEL: "x"}}}
    return {**live, "spec": {**live["spec"], "template": template}}


@pytest.mark.parametrize(
    ("live", "rolled"),
    [
        (None, 0),
        (rolling(2, 2, seen=1), 0),  # the counts are those of before the change
        (rolling(2, 0), 0),
        (rolling(1, 1), 0),  # the one that was replaced is not ready yet, the old one is
        (rolling(2, 1), 1),
        (rolling(1, 2), 1),
        (a_stateful_set(ready=2), 2),
    ],
)
def test_what_is_ready_and_surely_of_the_present_template(live: Json | None, rolled: int) -> None:
    assert rollout.rolled_replicas(live) == rolled


def test_a_rollout_is_told_while_others_go_on_serving() -> None:
    raw = {**stored(TURNED), "status": {"upstream": NEW}}
    found = conditions.cache_available(raw, judged(TURNED), Observation(inputs(), stateful_set=rolling(2, 1)))
    assert (found.status, found.reason) == ("True", "RollingOut")
    assert found.message.startswith("2 of 2 cache pods are ready. 1 of them")


def test_a_mirror_is_not_available_while_only_pods_of_a_former_upstream_are() -> None:
    raw = {**stored(TURNED), "status": {"upstream": FORMER}}
    for live, available, upstream in ((rolling(1, 1), "False", FORMER), (rolling(2, 1), "True", NEW)):
        status = status_of(raw, judged(TURNED), Observation(inputs(), stateful_set=live), "mirrors", NOW)
        cache = next(each for each in status["conditions"] if each["type"] == "CacheAvailable")
        assert (cache["status"], status["upstream"]) == (available, upstream)
        raw = {**raw, "status": status}


@pytest.mark.parametrize(
    ("upstream", "selected", "live", "unmarked"),
    [
        (NEW, {}, rolling(2, 0), True),
        (NEW, {}, a_stateful_set(ready=2), True),  # its template has yet to be given the label
        (NEW, {}, _marked(rolling(2, 0)), True),
        (NEW, {}, _marked(rolling(2, 1)), False),
        (NEW, {}, _marked(rolling(0, 1)), False),
        (NEW, {names.UPSTREAM_LABEL: "x"}, _marked(rolling(2, 0)), False),
        (FORMER, {}, rolling(2, 0), False),
    ],
)
def test_the_service_of_an_older_version_goes_on_leading_to_its_pods_until_a_marked_one_serves(
    upstream: str, selected: Json, live: Json, *, unmarked: bool
) -> None:
    raw = {**stored(TURNED), "status": {"upstream": upstream}}
    service = {"spec": {"selector": {"mirror": "docker", **selected}}}
    mirror = judged(TURNED)
    assert rollout.is_unmarked(raw, mirror, service, live) is unmarked
    known = replace(inputs(), unmarked=unmarked)
    first = next(body for kind, body in desired_objects(mirror, settings(), known) if kind is SERVICE)
    assert (names.UPSTREAM_LABEL in first["spec"]["selector"]) is not unmarked


def test_a_turned_mirror_without_any_pod_names_the_new_upstream() -> None:
    raw = {**stored(TURNED), "status": {"upstream": FORMER}}
    status = status_of(raw, judged(TURNED), Observation(inputs(), stateful_set=rolling(0, 1)), "mirrors", NOW)
    assert status["upstream"] == NEW
