"""Metrics of the webhook for Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prometheus_client import Counter, Gauge, Histogram, generate_latest

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client import CollectorRegistry

# Seconds. A usual review takes 0.0001, the worst accepted body 0.8. After 10 the API server has given up.
_BUCKETS: Final = (0.0001, 0.0002, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1, 10)


class Metrics:
    """The webhook's metrics in the given registry. `not_after` returns seconds since 1970, or 0 without certificate."""

    def __init__(self, registry: CollectorRegistry, not_after: Callable[[], float]) -> None:
        self._registry = registry
        self._requests = Counter(
            "registrymirror_webhook_requests",
            "Reviews by path, operation and result: allowed, patched, denied, errored or malformed.",
            ("path", "operation", "result"),
            registry=registry,
        )
        self._duration = Histogram(
            "registrymirror_webhook_request_duration_seconds",
            "Time from the head of a review's request to its answer.",
            ("path",),
            buckets=_BUCKETS,
            registry=registry,
        )
        Gauge(
            "registrymirror_webhook_certificate_expiration_timestamp_seconds",
            "Expiry of the certificate in use, in seconds since 1970.",
            registry=registry,
        ).set_function(not_after)

    def count_review(self, path: str, operation: str, result: str, seconds: float) -> None:
        """Count one review. Each combination of the words becomes a time series, so their sets are small."""
        self._requests.labels(path, operation, result).inc()
        self._duration.labels(path).observe(seconds)

    def exposed(self) -> bytes:
        """Return all metrics in the text format, version 0.0.4."""
        return generate_latest(self._registry)
