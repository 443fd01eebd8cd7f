"""Tell nodes that never had an agent from nodes that lost theirs. Pure.

Kubernetes keeps no record of the earlier pods of a node. The numbers of nodes tell enough: a node without an agent is
new to the mirror, unless all other nodes of the DaemonSet are too few for the agents that once ran.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from common.defaults import dict_at

if TYPE_CHECKING:
    from common.types import Json


@dataclass(slots=True)
class NodeHistory:
    """Nodes of one mirror. `touched` counts those on which an agent ran.

    `untouched` and `lost` name nodes whose agent does not run: it never did, or it did before.
    """

    touched: int = 0
    untouched: set[str] = field(default_factory=set)
    lost: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, obj: Json, daemon_set: Json | None) -> Self:
        """Return the history of a mirror that this process sees for the first time.

        After a change of the DaemonSet all nodes count as touched: the ready agents of a rollout are not all.
        """
        is_first = dict_at(daemon_set, "metadata").get("generation") == 1
        count = dict_at(obj, "status", "nodes").get("ready" if is_first else "desired")
        return cls(count if isinstance(count, int) else 0)

    def observe(self, idle: set[str], desired: int, running: int) -> None:
        """Record the nodes whose agent does not run, the number of all nodes, and that of nodes whose agent runs."""
        self.untouched &= idle
        self.lost &= idle
        others = desired - len(self.untouched)
        self.touched = min(max(self.touched, running), others)
        added = idle - self.untouched - self.lost
        (self.untouched if len(added) <= others - self.touched else self.lost).update(added)
