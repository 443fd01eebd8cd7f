"""What the webhook counts, for Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prometheus_client import Counter, Gauge, Histogram, ProcessCollector, generate_latest

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client import CollectorRegistry

# Seconds: a usual review takes 0.0001, the worst body that is read some 0.8; past 10 the API server has gone.
_BUCKETS: Final = (0.0001, 0.0002, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1, 10)


class Metrics:
    """The webhook's metrics, in a registry of the caller's. `not_after` gives seconds since 1970, 0 for none."""

    def __init__(self, registry: CollectorRegistry, not_after: Callable[[], float]) -> None:
        self._registry = registry
        self._reviews = Counter(
            "webhook_reviews",
            "Reviews by path, operation and result: allowed, patched, denied, errored, or malformed for none of ours.",
            ("path", "operation", "result"),
            registry=registry,
        )
        self._seconds = Histogram(
            "webhook_review_seconds",
            "Time from a request's head to its answer.",
            ("path",),
            buckets=_BUCKETS,
            registry=registry,
        )
        Gauge(
            "webhook_certificate_not_after_seconds",
            "When the certificate in use expires, in seconds since 1970.",
            registry=registry,
        ).set_function(not_after)
        ProcessCollector(registry=registry)

    def reviewed(self, path: str, operation: str, result: str, seconds: float) -> None:
        """Counts one review. The three words come from small sets: each combination is kept for ever."""
        self._reviews.labels(path, operation, result).inc()
        self._seconds.labels(path).observe(seconds)

    def exposed(self) -> bytes:
        """All of them in the text format, version 0.0.4."""
        return generate_latest(self._registry)
