"""Collect metrics from the cluster cache and the queue at each scrape."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from common import names
from common.defaults import dict_at
from controller.certificates.x509 import dates_of
from controller.model.condition import existing_conditions
from controller.objects import well_known
from controller.objects.well_known import MIRRORS_CA, WEBHOOK_CA, WEBHOOK_CERTIFICATE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from common.types import Json
    from controller.informer.cluster_cache import ClusterCache
    from controller.workqueue.queue import Queue

STATUSES: Final = ("True", "False", "Unknown")
# Name of each metric that repeats a number of the status, its path there, and its meaning.
# An absent number is 0, except that of _PULLING: then the caches cannot tell.
_PULLING: Final = "nodes_pulling"
_COUNTS: Final = (
    ("cache_replicas", ("replicas",), "Cache pods of the mirror."),
    ("cache_replicas_ready", ("readyReplicas",), "Ready cache pods of the mirror."),
    ("nodes_desired", ("nodes", "desired"), "Nodes that should use the mirror."),
    ("nodes_ready", ("nodes", "ready"), "Nodes whose agent is ready."),
    (_PULLING, ("nodes", "pulling"), "Nodes that pulled through the mirror in the last 24 hours."),
    ("nodes_unschedulable", ("nodes", "unschedulable"), "Nodes without room for their agent."),
)


class StateCollector(Collector):
    """Collect the state of mirrors, queue and certificates in the leader. A standby has the leadership only."""

    def __init__(self, state: ClusterCache, queue: Queue, is_leader: Callable[[], bool]) -> None:
        self._state = state
        self._queue = queue
        self._is_leader = is_leader

    def collect(self) -> Iterable[Any]:
        """Yield all metrics."""
        is_leader = self._is_leader()
        yield _single("leader_election_master_status", "1 if this process is the leader.", float(is_leader))
        if not is_leader:
            return
        yield _single("workqueue_depth", "Keys waiting for a reconcile.", self._queue.depth(time.monotonic()))
        mirrors = [obj for name in self._state.mirrors if (obj := self._state.mirrors.get(name)) is not None]
        yield from _mirrors(mirrors)
        yield self._expirations()

    def _expirations(self) -> GaugeMetricFamily:
        """Return the expiration of both CAs, the webhook, each mirror and DOCKER_CERTIFICATE_SECRET."""
        # A timestamp: the seconds left would be wrong by the age of the sample.
        expirations = _family(
            "certificate_expiration_timestamp_seconds",
            "Expiration of the certificate in a Secret, in seconds since 1970.",
            "secret",
        )
        secrets = (MIRRORS_CA, WEBHOOK_CA, WEBHOOK_CERTIFICATE, *sorted(self._state.shared_secrets))
        for name in (*secrets, *map(names.object_name, self._state.mirrors)):
            dates = dates_of(self._state.secret_text(name, well_known.CERTIFICATE))
            if dates is not None:
                expirations.add_metric([name], dates[1].timestamp())
        return expirations


def _mirrors(mirrors: list[Json]) -> Iterator[GaugeMetricFamily]:
    """Yield the metrics of each mirror, from its status. The label `name` is the mirror's."""
    info = _family("info", "Upstream and masqueradeUrl of the mirror.", "name", "upstream", "masquerade")
    conditions = _family(
        "status_condition", "1 if the condition of the mirror has the status.", "name", "condition", "status"
    )
    reasons = _family(
        "status_condition_reason", "Reason of the condition of the mirror.", "name", "condition", "reason"
    )
    counts = {name: _family(name, text, "name") for name, _, text in _COUNTS}
    for obj in mirrors:
        mirror, status = obj["metadata"]["name"], dict_at(obj, "status")
        if "upstream" in status:
            info.add_metric([mirror, status["upstream"], str(status.get("masqueradeUrl", ""))], 1)
        for name, (*parents, key), _ in _COUNTS:
            number = dict_at(status, *parents).get(key)
            if number is not None or name != _PULLING:
                counts[name].add_metric([mirror], number or 0)
        for condition in existing_conditions(obj):
            for each in STATUSES:
                conditions.add_metric([mirror, condition["type"], each], float(condition["status"] == each))
            reasons.add_metric([mirror, condition["type"], str(condition.get("reason", ""))], 1)
    yield from (info, conditions, reasons, *counts.values())


def _single(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"registrymirror_{name}", text, value=value)


def _family(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"registrymirror_{name}", text, labels=labels)
