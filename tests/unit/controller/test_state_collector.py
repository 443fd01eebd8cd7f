"""Test the metrics of mirrors, which only the leader has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import generate_latest

from common.metrics import new_registry
from common.version import VERSION
from controller.informer.cluster_cache import ClusterCache
from controller.metrics import Metrics
from controller.state_collector import StateCollector
from controller.workqueue.workers import KeyQueue
from tests.support.controller import stored
from tests.support.mirrors import a_mirror

if TYPE_CHECKING:
    from common.types import Json

STATUS = {
    "upstream": "https://quay.io",
    "masqueradeUrl": "mirror-quay.io",
    "replicas": 2,
    "readyReplicas": 1,
    "nodes": {"desired": 3, "ready": 2, "pulling": 1, "unschedulable": 1},
    "conditions": [{"type": "Ready", "status": "False", "reason": "NodesPending", "message": "1 of 3"}],
}


def exposed(*, is_leader: bool, status: Json = STATUS) -> set[str]:
    """Return the lines of a controller that knows one mirror with this status."""
    keys = KeyQueue()
    state, metrics = ClusterCache(keys.enqueue), Metrics(new_registry())
    metrics.registry.register(StateCollector(state, keys.queue, lambda: is_leader))
    state.mirrors.put({**stored(a_mirror().named("quay")), "status": status})
    lines = generate_latest(metrics.registry).decode().splitlines()
    return {line for line in lines if line.startswith("registrymirror_")}


def test_leader_reports_state_of_each_mirror() -> None:
    assert exposed(is_leader=True) >= {
        "registrymirror_leader_election_master_status 1.0",
        "registrymirror_workqueue_depth 1.0",
        'registrymirror_info{masquerade="mirror-quay.io",name="quay",upstream="https://quay.io"} 1.0',
        'registrymirror_cache_replicas{name="quay"} 2.0',
        'registrymirror_cache_replicas_ready{name="quay"} 1.0',
        'registrymirror_nodes_desired{name="quay"} 3.0',
        'registrymirror_nodes_ready{name="quay"} 2.0',
        'registrymirror_nodes_pulling{name="quay"} 1.0',
        'registrymirror_nodes_unschedulable{name="quay"} 1.0',
        'registrymirror_status_condition{condition="Ready",name="quay",status="True"} 0.0',
        'registrymirror_status_condition{condition="Ready",name="quay",status="False"} 1.0',
        'registrymirror_status_condition{condition="Ready",name="quay",status="Unknown"} 0.0',
        'registrymirror_status_condition_reason{condition="Ready",name="quay",reason="NodesPending"} 1.0',
    }


def test_mirror_without_status_has_counts_only() -> None:
    lines = exposed(is_leader=True, status={})
    assert 'registrymirror_cache_replicas{name="quay"} 0.0' in lines
    assert not any(
        line.startswith(("registrymirror_info", "registrymirror_status", "registrymirror_nodes_pulling"))
        for line in lines
    )


def test_standby_reports_only_that_it_waits() -> None:
    """The histogram of reconciles is there, and empty."""
    lines = {line for line in exposed(is_leader=False) if not line.startswith("registrymirror_reconcile_duration")}
    build = f'registrymirror_build_info{{version="{VERSION}"}} 1.0'
    assert lines == {build, "registrymirror_leader_election_master_status 0.0"}


def test_counters_have_no_created_series() -> None:
    assert not any("_created" in line for line in exposed(is_leader=True))
