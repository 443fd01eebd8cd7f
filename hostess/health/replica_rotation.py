"""Which cache pods are asked by themselves, beside the mirror's Service. Pure.

By its session affinity the Service leads agent and runtime, which have different addresses, to different replicas for
hours: one that hangs while it is Ready may be the runtime's alone. So each ready pod is asked, and one that is silent
counts as the mirror's silence, as nobody here can say whose pod it is: pulls go to the upstream meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hostess.kube.mirror_endpoints import Endpoint

# While all is well a pod is asked at each second look. With looks every 2 s and the default of two replicas each gets,
# of 1000 nodes, 250 such questions a second, and as many by the Service: at some 0.3 ms a handshake a seventh of a
# core; the agent itself asks twice a look. A pod that hangs is found 2 s later for it.
EVERY: Final = 2


@dataclass(slots=True)
class ReplicaRotation:
    """Goes round the ready pods of a mirror."""

    _turn: int = 0

    def of(self, endpoints: Sequence[Endpoint], *, doubtful: bool) -> Sequence[Endpoint]:
        """The pods for this look: all of them while it is doubtful how the mirror stands, else those whose turn it is.

        None where there is but one: the Service leads to it.
        """
        if len(endpoints) <= 1:
            return ()
        self._turn += 1
        return endpoints if doubtful else endpoints[self._turn % EVERY :: EVERY]
