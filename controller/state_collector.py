"""Collect metrics from the cluster cache and the queue."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from common import names
from controller.certificates.x509 import dates_of
from controller.model.condition import existing_conditions
from controller.objects import well_known
from controller.objects.well_known import MIRRORS_CA, WEBHOOK_CA, WEBHOOK_CERTIFICATE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from controller.informer.cluster_cache import ClusterCache
    from controller.workqueue.queue import Queue


class StateCollector(Collector):
    """What is read at the moment somebody asks: the queue, the mirrors by condition, the ends of certificates."""

    def __init__(self, state: ClusterCache, queue: Queue) -> None:
        self._state = state
        self._queue = queue

    def collect(self) -> Iterable[Any]:
        """Yields the queue's depth, the number of mirrors by condition and status, and when certificates end."""
        depth = GaugeMetricFamily("registrymirror_queue_depth", "Mirrors that wait for a reconcile.")
        depth.add_metric([], self._queue.depth(time.monotonic()))
        yield depth
        mirrors = GaugeMetricFamily(
            "registrymirror_mirrors", "Mirrors by condition and its status.", labels=["condition", "status"]
        )
        counts: dict[tuple[str, str], int] = {}
        for name in self._state.mirrors:
            for condition in existing_conditions(self._state.mirrors.get(name) or {}):
                key = condition["type"], condition["status"]
                counts[key] = counts.get(key, 0) + 1
        for (kind, status), count in sorted(counts.items()):
            mirrors.add_metric([kind, status], count)
        yield mirrors
        yield self._ends()

    def _ends(self) -> GaugeMetricFamily:
        """Of both authorities, the webhook, each mirror, and the Secret of a person's own.

        Absolute: seconds that are left would be wrong by the age of each sample.
        """
        ends = GaugeMetricFamily(
            "registrymirror_certificate_not_after_seconds",
            "When the certificate in a Secret ends, in seconds since 1970.",
            labels=["secret"],
        )
        ours = (MIRRORS_CA, WEBHOOK_CA, WEBHOOK_CERTIFICATE, *sorted(self._state.shared_secrets))
        for name in (*ours, *map(names.object_name, self._state.mirrors)):
            dates = dates_of(self._state.secret_text(name, well_known.CERTIFICATE))
            if dates is not None:
                ends.add_metric([name], dates[1].timestamp())
        return ends
