"""What the controller counts, for Prometheus. One registry, handed in; nothing global."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from common import names
from controller.certificates import dates_of
from controller.conditions import stated
from controller.desired import files
from controller.state import MIRRORS_AUTHORITY, WEBHOOK_AUTHORITY, WEBHOOK_CERTIFICATE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from controller.queue import Queue
    from controller.state import State

# Seconds: a reconcile with nothing to do takes about a millisecond, one that makes everything some tens of them.
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Metrics:
    """The controller's metrics. All names start with `registrymirror_`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.reconciles = Counter("registrymirror_reconciles", "Reconciles by result.", ["result"], registry=registry)
        self.duration = Histogram(
            "registrymirror_reconcile_duration_seconds", "Time of one reconcile.", buckets=_BUCKETS, registry=registry
        )
        self.watch_restarts = Counter(
            "registrymirror_watch_restarts", "Watches begun again, by kind and why.", ["kind", "why"], registry=registry
        )
        self.leading = Gauge("registrymirror_leading", "1 while this process holds the lease.", registry=registry)
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)

    def watch_restarted(self, kind: str, why: str) -> None:
        """Counts a watch that had to begin again."""
        self.watch_restarts.labels(kind, why).inc()


class StateCollector(Collector):
    """What is read at the moment somebody asks: the queue, the mirrors by condition, the ends of certificates."""

    def __init__(self, state: State, queue: Queue) -> None:
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
            for condition in stated(self._state.mirrors.get(name) or {}):
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
        ours = (MIRRORS_AUTHORITY, WEBHOOK_AUTHORITY, WEBHOOK_CERTIFICATE, *sorted(self._state.shared_secrets))
        for name in (*ours, *map(names.object_name, self._state.mirrors)):
            dates = dates_of(self._state.secret_text(name, files.CERTIFICATE))
            if dates is not None:
                ends.add_metric([name], dates[1].timestamp())
        return ends
