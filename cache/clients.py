"""Remember which nodes pulled. Containerd does not name its node, so agents name the nodes of addresses. Pure."""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

# Seconds that a pull is remembered, and addresses: of the clients, and of the agents.
DAY: Final = 86_400.0
REMEMBERED: Final = 4000
# Seconds between the probes of two agents at one address that mean one address for two nodes. Agents probe every two
# seconds, and another node gets a freed address later.
SHARED: Final = 60.0
_Value = TypeVar("_Value")  # the syntax without TypeVar needs Python 3.12
_NODE: Final = re.compile(r"[a-z0-9][a-z0-9.-]{0,252}")


@dataclass(slots=True)
class Clients:
    """Addresses of clients and agents, the least recent first. `now` is a time of the monotonic clock."""

    _pulls: OrderedDict[str, float] = field(default_factory=OrderedDict)
    _nodes: OrderedDict[str, dict[str, float]] = field(default_factory=OrderedDict)

    def note_pull(self, address: str, now: float) -> None:
        """Remember a pull."""
        _remember(self._pulls, address, now)

    def note_agent(self, address: str, node: str, now: float) -> None:
        """Remember that the agent of `node` asked from this address."""
        if not _NODE.fullmatch(node):
            return
        known = self._nodes.get(address, {})
        recent = {name: seen for name, seen in known.items() if now - seen < SHARED}
        if known and node not in known and not recent:  # the address was given to another node
            self._pulls.pop(address, None)
        # Two names are enough to see that the address is shared.
        _remember(self._nodes, address, dict([*recent.items(), (node, now)][-2:]))

    def report(self, now: float) -> dict[str, Any]:
        """Return the nodes that pulled in the last day, and the number of clients whose node is not known.

        Nodes are hashes of eight characters, so that thousands fit in an answer.
        """
        while self._pulls and now - next(iter(self._pulls.values())) > DAY:
            self._pulls.popitem(last=False)
        named = [self._nodes.get(address, {}) for address in self._pulls]
        return {
            "nodes": sorted({_hash(node) for names in named if len(names) == 1 for node in names}),
            "unmatched": sum(not names for names in named),
            "shared": sum(len(names) > 1 for names in named),
        }


def _remember(of: OrderedDict[str, _Value], address: str, value: _Value) -> None:
    of[address] = value
    of.move_to_end(address)
    if len(of) > REMEMBERED:
        of.popitem(last=False)


def _hash(node: str) -> str:
    return hashlib.blake2s(node.encode(), digest_size=4).hexdigest()
