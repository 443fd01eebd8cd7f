"""Check the nodes on which agents run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.commands.nodes import node_of
from cli.doctor.finding import WARNING, Finding
from cli.objects import AGENT, condition, label, name_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cli.doctor.snapshot import Snapshot


def check(snapshot: Snapshot) -> Iterator[Finding]:
    """Yield the nodes with agents that are not ready: their agents cannot report anything."""
    with_agents = {node_of(each) for each in snapshot.of_kind("Pod") if label(each, "component") == AGENT}
    for node in snapshot.of_kind("Node"):
        ready = condition(node, "Ready")
        if name_of(node) in with_agents and ready.get("status") in ("False", "Unknown"):
            yield Finding(
                WARNING,
                "NodeNotReady",
                f"node/{name_of(node)}",
                str(ready.get("message", "The node is not ready.")),
                "Repair the node, or delete it. Mirrors wait for it until then.",
            )
