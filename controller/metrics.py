"""Define the controller's Prometheus metrics. The registry is an argument; nothing is global."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import Counter, Histogram

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

# Seconds: a reconcile without changes takes about 0.001, one that creates all objects some 0.05.
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Metrics:
    """Count reconciles and watch restarts. All names start with `registrymirror_`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.reconciles = Counter("registrymirror_reconcile", "Reconciles by result.", ["result"], registry=registry)
        self.duration = Histogram(
            "registrymirror_reconcile_duration_seconds",
            "Duration of a reconcile.",
            buckets=_BUCKETS,
            registry=registry,
        )
        self.watch_restarts = Counter(
            "registrymirror_watch_restarts",
            "Restarted watches by kind and reason.",
            ["kind", "reason"],
            registry=registry,
        )

    def watch_restarted(self, kind: str, reason: str) -> None:
        """Count a restarted watch."""
        self.watch_restarts.labels(kind, reason).inc()
