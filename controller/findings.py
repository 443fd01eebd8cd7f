"""What one reconcile found and did, gathered for the status to be computed from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from controller.apply import Applied
    from controller.facts import Facts, Lacking
    from controller.nodes import Agent
    from controller.probing.verdict import Verdict
    from controller.storage import StorageResult

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Findings:
    """Objects as they are after the pass; None where there is none. `refused` is what the API server would not take.

    `agents` are those that keep their nodes from being ready, a few of them, with what they say; `verdict` is
    what the upstream last said, None while it has not.
    """

    facts: Facts | Lacking
    applied: Applied | None = None
    storage: StorageResult | None = None
    service: Json | None = None
    stateful_set: Json | None = None
    daemon_set: Json | None = None
    refused: str | None = None
    agents: tuple[Agent, ...] = ()
    verdict: Verdict | None = None
