"""Test a rollout, whose ready pods may have the former template, and a change of the upstream."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from controller.model.observation import Observation, Verdict
from controller.objects import rollout
from controller.status import conditions, reasons
from controller.status.status import status_of
from tests.support.controller import NOW, a_stateful_set, inputs, parsed, stored
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


def test_caches_of_former_upstream_are_unavailable() -> None:
    """They answer 404 for the new upstream, so nodes pull from it. The status names the upstream in use."""
    verdict = Verdict(reasons.NOT_ASKED, "Not read yet.", is_switching=True)
    observation = Observation(inputs(), stateful_set=a_stateful_set(ready=2), verdicts=(verdict,))
    obj = {**stored(CHANGED), "status": {"upstream": FORMER}}
    switching = _status(obj, observation)
    assert _cache(switching) == ("False", "SwitchingUpstream")
    assert switching["upstream"] == FORMER
    assert _cache(_status({**obj, "status": switching}, observation)) == ("False", "SwitchingUpstream")
    served = _status({**obj, "status": switching}, replace(observation, verdicts=(Verdict(reasons.REACHABLE, "Yes."),)))
    assert _cache(served) == ("True", "AllReplicasReady")
    assert served["upstream"] == NEW


def test_switching_needs_ready_pods() -> None:
    verdict = Verdict(reasons.NOT_ASKED, "Not read yet.", is_switching=True)
    observation = Observation(inputs(), stateful_set=a_stateful_set(ready=0), verdicts=(verdict,))
    assert _cache(_status(stored(CHANGED), observation)) == ("False", "NoReplicaReady")


def test_status_names_new_upstream_before_answers() -> None:
    status = _status({**stored(CHANGED), "status": {"upstream": FORMER}}, Observation(inputs(), stateful_set=None))
    assert status["upstream"] == NEW


def _status(obj: Json, observation: Observation) -> Json:
    return status_of(obj, parsed(CHANGED), observation, "mirrors", NOW)


def _cache(status: Json) -> tuple[str, str]:
    found = next(each for each in status["conditions"] if each["type"] == "CacheAvailable")
    return found["status"], found["reason"]
