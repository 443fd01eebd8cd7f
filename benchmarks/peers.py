"""Published figures of other controllers. They come from other runs, so only ratios compare.

Each peer did the same work for 500 mirrors with four objects each, on two cores with Kubernetes 1.36.3, etcd and API
server alone. Their limit was measured in the same runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MIRRORS: Final = 500
LIMIT_SECONDS: Final = 4.592


@dataclass(frozen=True)
class Peer:
    """A controller of the same resource. Restart in seconds and requests, memory in MiB."""

    name: str
    burst_seconds: float
    restart_seconds: float
    restart_requests: int
    requests_per_mirror: int
    resident_mib: int

    @property
    def ratio(self) -> float:
        """Return the burst as a multiple of the limit of the same run."""
        return self.burst_seconds / LIMIT_SECONDS


CONTROLLER_RUNTIME: Final = Peer("controller-runtime", 8.484, 6.7, 2006, 9, 70)
PEERS: Final = (
    CONTROLLER_RUNTIME,
    Peer("kopf", 15.152, 17.5, 2517, 6, 222),
    Peer("mirror-operator 2018", 21.182, 20.7, 4001, 8, 46),
)

# Webhook of controller-runtime: reviews per second of 8 clients without API server. Then with API server, with and
# without webhook: latency of one client in ms, and requests per second of 8.
DIRECT_REVIEWS: Final = 7274
LATENCY: Final = 5.5
LATENCY_WITHOUT: Final = 2.5
LOADED: Final = 479
LOADED_WITHOUT: Final = 1357
