"""What others reach. Published figures, not of this run nor of this machine's present mood: only ratios compare.

Each peer did the same work for 500 mirrors (four objects each) on a machine of two cores, Kubernetes 1.36.3, etcd
and API server alone; the limit was measured beside them.
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
    requests_a_mirror: int
    resident_mib: int

    @property
    def ratio(self) -> float:
        """Its burst as a multiple of the limit that was measured beside it."""
        return self.burst_seconds / LIMIT_SECONDS


CONTROLLER_RUNTIME: Final = Peer("controller-runtime", 8.484, 6.7, 2006, 9, 70)
PEERS: Final = (
    CONTROLLER_RUNTIME,
    Peer("kopf", 15.152, 17.5, 2517, 6, 222),
    Peer("mirror-operator 2018", 21.182, 20.7, 4001, 8, 46),
)

# Admission by the webhook of controller-runtime: direct reviews a second with 8 clients; through the API server the
# latency of one client (ms) and the requests a second of 8, each beside the same without a webhook.
DIRECT_REVIEWS: Final = 7274
LATENCY: Final = 5.5
LATENCY_WITHOUT: Final = 2.5
LOADED: Final = 479
LOADED_WITHOUT: Final = 1357
