"""What one reconcile found and did, gathered for the status to be computed from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from controller.apply import Applied
    from controller.facts import Facts, Lacking
    from controller.storage import StorageResult

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Findings:
    """Objects as they are after the pass; None where there is none. `refused` is what the API server would not take."""

    facts: Facts | Lacking
    applied: Applied | None = None
    storage: StorageResult | None = None
    service: Json | None = None
    stateful_set: Json | None = None
    daemon_set: Json | None = None
    refused: str | None = None
