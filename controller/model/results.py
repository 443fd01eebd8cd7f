"""Define the outcomes of a reconcile and of its steps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from common.types import Json


@dataclass(frozen=True, slots=True)
class Done:
    """Report that the objects are as desired."""


@dataclass(frozen=True, slots=True)
class RequeueAfter:
    """Request another reconcile in `seconds` at the latest, and not before `cooldown` seconds despite new events."""

    seconds: float
    reason: str
    cooldown: float = 0.0


@dataclass(frozen=True, slots=True)
class Stalled:
    """Report a mirror that needs a change by a user; that change is an event, so there is no retry."""

    reason: str
    message: str


Outcome = Done | RequeueAfter | Stalled


@dataclass(slots=True)
class ApplyResult:
    """What one pass did. Objects are named `Kind name`.

    `wait` is in seconds, until the first of those that are quarrelled over may be mended; 0 where none is.
    """

    created: list[str] = field(default_factory=list)
    repaired: dict[str, list[str]] = field(default_factory=dict)
    adopted: list[str] = field(default_factory=list)
    replaced: dict[str, list[str]] = field(default_factory=dict)
    pruned: list[str] = field(default_factory=list)
    foreign: dict[str, str] = field(default_factory=dict)
    # Told once a quarrel; `wait` says that one goes on.
    contested: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    passing: list[str] = field(default_factory=list)
    cleared: list[str] = field(default_factory=list)
    # Fields that were stored otherwise than they were sent; told once. `altered_for` says that it goes on: of the
    # latest of them, for how many seconds.
    altered: dict[str, list[str]] = field(default_factory=dict)
    altered_for: float | None = None
    # Of those on their way out: since when by the API server's clock, the finalizers that hold them, and for how many
    # seconds this process has seen them go.
    going: dict[str, tuple[str, list[str], float]] = field(default_factory=dict)
    wait: float = 0.0
    # The API server was asked, and knows no later mirror of this name.
    latest: bool = False

    def wait_for(self, seconds: float) -> None:
        """Says that one more object may be mended in so many seconds."""
        self.wait = min(self.wait or seconds, seconds)


@dataclass(frozen=True, slots=True)
class ResizePlan:
    """Steps to the wanted storage, in order: adopt, grow, replace the StatefulSet, recreate, delete surplus claims.

    `surplus` are claims of removed pods, `absent` names claims that do not exist. `missing` names claims without the
    wanted storage. `foreign` are those of them that are a user's own. `granted` is what every claim has.
    """

    wanted: str
    adopt: list[Json] = field(default_factory=list)
    grow: list[Json] = field(default_factory=list)
    replace: bool = False
    recreate: list[Json] = field(default_factory=list)
    surplus: list[Json] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    granted: str | None = None


@dataclass(frozen=True, slots=True)
class StorageResult:
    """The outcome of a resize plan. `refused` is the API server's refusal.

    `replacing`: the StatefulSet was deleted to be created again. `waiting`: claims remain to be created or deleted.
    """

    plan: ResizePlan
    refused: str | None = None
    replacing: bool = False
    waiting: bool = False
