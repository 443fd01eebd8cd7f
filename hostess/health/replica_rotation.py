"""Choose the cache pods that the agent probes directly, beside the mirror's Service. Pure.

Session affinity may lead agent and runtime to different replicas for hours. So a hung pod may serve the runtime alone,
and one silent pod counts as silence of the mirror: pulls go to the upstream meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hostess.kube.mirror_endpoints import Endpoint

# A healthy pod is probed in each second round. With two replicas and 1000 nodes each pod gets 250 such probes a second
# and as many by the Service. At 0.3 ms a handshake this is a seventh of a core.
EVERY: Final = 2


@dataclass(slots=True)
class ReplicaRotation:
    """Rotate over the ready pods of a mirror."""

    _round: int = 0

    def next_pods(self, endpoints: Sequence[Endpoint], *, doubtful: bool) -> Sequence[Endpoint]:
        """Return the pods to probe in this round: all if the mirror's health is `doubtful`.

        A single pod is probed by the Service alone.
        """
        if len(endpoints) <= 1:
            return ()
        self._round += 1
        return endpoints if doubtful else endpoints[self._round % EVERY :: EVERY]
