"""Collect metrics from the cluster cache and the queue."""

from __future__ import annotations

import time
from collections import Counter
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
    """Collect the queue's depth, the mirrors' conditions and the certificates' expiration at each scrape."""

    def __init__(self, state: ClusterCache, queue: Queue) -> None:
        self._state = state
        self._queue = queue

    def collect(self) -> Iterable[Any]:
        """Yield all metrics."""
        depth = GaugeMetricFamily("registrymirror_workqueue_depth", "Keys waiting for a reconcile.")
        depth.add_metric([], self._queue.depth(time.monotonic()))
        yield depth
        yield self._conditions()
        yield self._expirations()

    def _conditions(self) -> GaugeMetricFamily:
        conditions = GaugeMetricFamily(
            "registrymirror_status_conditions", "Mirrors by condition and status.", labels=["condition", "status"]
        )
        counts = Counter(
            (condition["type"], condition["status"])
            for name in self._state.mirrors
            for condition in existing_conditions(self._state.mirrors.get(name) or {})
        )
        for labels, count in sorted(counts.items()):
            conditions.add_metric(labels, count)
        return conditions

    def _expirations(self) -> GaugeMetricFamily:
        """Return the expiration of both CAs, the webhook, each mirror and DOCKER_CERTIFICATE_SECRET."""
        # A timestamp: the seconds left would be wrong by the age of the sample.
        expirations = GaugeMetricFamily(
            "registrymirror_certificate_expiration_timestamp_seconds",
            "Expiration of the certificate in a Secret, in seconds since 1970.",
            labels=["secret"],
        )
        secrets = (MIRRORS_CA, WEBHOOK_CA, WEBHOOK_CERTIFICATE, *sorted(self._state.shared_secrets))
        for name in (*secrets, *map(names.object_name, self._state.mirrors)):
            dates = dates_of(self._state.secret_text(name, well_known.CERTIFICATE))
            if dates is not None:
                expirations.add_metric([name], dates[1].timestamp())
        return expirations
