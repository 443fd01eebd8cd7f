"""Count requests, bytes and evictions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from prometheus_client import Counter, Gauge, Histogram

from cache.model.results import Result
from common.metrics import new_registry

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from cache.model.reference import Request

# Seconds. A stored manifest takes 0.001; a layer of some GB from a slow upstream takes minutes.
_BUCKETS: Final = (0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)

# Repositories that have a series of their own. Those beyond share one, whose name is not that of a repository.
_REPOSITORIES_MAX: Final = 1000
_OTHER: Final = "(other)"

NODE, REPLICA = "node", "replica"  # values of the label `client`


@dataclass(slots=True)
class Metrics:
    """The metrics of the process."""

    counts_repositories: bool = False
    registry: CollectorRegistry = field(default_factory=new_registry)
    requests: Counter = field(init=False)
    duration: Histogram = field(init=False)
    pulls: Counter = field(init=False)
    served_bytes: Counter = field(init=False)
    received_bytes: Counter = field(init=False)
    repository_requests: Counter = field(init=False)
    downloads: Gauge = field(init=False)
    stored_bytes: Gauge = field(init=False)
    free_bytes: Gauge = field(init=False)
    min_free_bytes: Gauge = field(init=False)
    volume_bytes: Gauge = field(init=False)
    evictions: Counter = field(init=False)
    evicted_bytes: Counter = field(init=False)
    store_errors: Counter = field(init=False)
    upstream_reason: Gauge = field(init=False)
    rate_limit: Gauge = field(init=False)
    rate_limit_remaining: Gauge = field(init=False)
    _repositories: set[tuple[str, str]] = field(default_factory=set)

    def __post_init__(self) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"registrymirror_cache_{name}", text, labels, registry=self.registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"registrymirror_cache_{name}", text, labels, registry=self.registry)

        self.requests = counter(
            "requests_total",
            "Requests by upstream, kind, client and result.",
            "upstream",
            "kind",
            "client",
            "result",
        )
        self.duration = Histogram(
            "registrymirror_cache_request_duration_seconds",
            "Time of answered requests of nodes, until the last byte.",
            ("upstream", "kind"),
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.pulls = counter("pulls_total", "Manifests of images sent to nodes.", "upstream")
        self.served_bytes = counter("served_bytes_total", "Bytes of bodies sent.", "upstream", "client")
        self.received_bytes = counter("received_bytes_total", "Bytes of blobs received.", "upstream", "source")
        self.repository_requests = counter("repository_requests_total", "Requests by repository.", "upstream", "name")
        self.downloads = gauge("downloads", "Downloads in progress.")
        self.stored_bytes = gauge("stored_bytes", "Bytes of the store.")
        self.free_bytes = gauge("free_bytes", "Free bytes of the volume.")
        self.min_free_bytes = gauge("min_free_bytes", "Bytes of the volume that evictions keep free.")
        self.volume_bytes = gauge("volume_bytes", "Size of the volume.")
        self.evictions = counter("evictions_total", "Files evicted, by cause.", "cause")
        self.evicted_bytes = counter("evicted_bytes_total", "Bytes evicted, by cause.", "cause")
        self.store_errors = counter("store_errors_total", "Writes that the volume refused, except for lack of space.")
        self.upstream_reason = gauge(
            "upstream_reason", "1 for the last result of asking the upstream.", "upstream", "reason"
        )
        self.rate_limit = gauge("rate_limit", "Requests that the upstream allows per period.", "upstream")
        self.rate_limit_remaining = gauge(
            "rate_limit_remaining", "Requests that the upstream still allows.", "upstream"
        )

    def prepare(self, host: str) -> None:
        """Expose series of an upstream with 0: Prometheus does not see the first increase of a new series."""
        self.pulls.labels(host)
        for client in (NODE, REPLICA):
            self.served_bytes.labels(host, client)
        for source in ("upstream", "peer"):
            self.received_bytes.labels(host, source)

    def count(self, host: str, asked: Request, result: Result) -> None:
        """Count a request."""
        self.requests.labels(host, asked.reference.kind.value, client_of(asked), result.value).inc()
        # Any name can be refused: such series would have no bound.
        if self.counts_repositories and result is not Result.REFUSED:
            self.repository_requests.labels(host, self._counted_name(host, asked.reference.name)).inc()

    def _counted_name(self, host: str, name: str) -> str:
        """Return the name of a repository, or that of the series for all beyond the limit."""
        if len(self._repositories) < _REPOSITORIES_MAX:
            self._repositories.add((host, name))
        return name if (host, name) in self._repositories else _OTHER

    def count_eviction(self, cause: str, size: int) -> None:
        """Count an evicted file."""
        self.evictions.labels(cause).inc()
        self.evicted_bytes.labels(cause).inc(size)


def client_of(asked: Request) -> str:
    """Return who sent a request."""
    return REPLICA if asked.is_hop else NODE
