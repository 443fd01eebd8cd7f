"""What the controller counts, for Prometheus. One registry, handed in; nothing global."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector

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
