"""Count requests, bytes and evictions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge

from common.metrics import new_registry

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from cache.model.reference import Reference
    from cache.model.results import Result


@dataclass(slots=True)
class Metrics:
    """The metrics of the process."""

    counts_repositories: bool = False
    registry: CollectorRegistry = field(default_factory=new_registry)
    requests: Counter = field(init=False)
    served_bytes: Counter = field(init=False)
    received_bytes: Counter = field(init=False)
    repository_requests: Counter = field(init=False)
    downloads: Gauge = field(init=False)
    stored_bytes: Gauge = field(init=False)
    free_bytes: Gauge = field(init=False)
    evictions: Counter = field(init=False)
    evicted_bytes: Counter = field(init=False)
    rate_limit: Gauge = field(init=False)

    def __post_init__(self) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"registrymirror_cache_{name}", text, labels, registry=self.registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"registrymirror_cache_{name}", text, labels, registry=self.registry)

        self.requests = counter(
            "requests_total", "Requests by upstream, kind and result.", "upstream", "kind", "result"
        )
        self.served_bytes = counter("served_bytes_total", "Bytes of bodies sent to clients.", "upstream")
        self.received_bytes = counter("received_bytes_total", "Bytes of blobs received.", "upstream", "source")
        self.repository_requests = counter("repository_requests_total", "Requests by repository.", "upstream", "name")
        self.downloads = gauge("downloads", "Downloads in progress.")
        self.stored_bytes = gauge("stored_bytes", "Bytes of the store.")
        self.free_bytes = gauge("free_bytes", "Free bytes of the volume.")
        self.evictions = counter("evictions_total", "Files evicted, by cause.", "cause")
        self.evicted_bytes = counter("evicted_bytes_total", "Bytes evicted, by cause.", "cause")
        self.rate_limit = gauge("rate_limit_remaining", "Requests that the upstream still allows.", "upstream")

    def count(self, host: str, reference: Reference, result: Result) -> None:
        """Count a request."""
        self.requests.labels(host, reference.kind.value, result.value).inc()
        if self.counts_repositories:
            self.repository_requests.labels(host, reference.name).inc()

    def count_eviction(self, cause: str, size: int) -> None:
        """Count an evicted file."""
        self.evictions.labels(cause).inc()
        self.evicted_bytes.labels(cause).inc(size)
