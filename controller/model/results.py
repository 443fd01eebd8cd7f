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
    """Changes of one reconcile to the objects of a mirror, by `Kind name`."""

    created: list[str] = field(default_factory=list)
    repaired: dict[str, list[str]] = field(default_factory=dict)  # with the changed fields
    adopted: list[str] = field(default_factory=list)
    replaced: dict[str, list[str]] = field(default_factory=dict)  # with the immutable fields
    pruned: list[str] = field(default_factory=list)
    foreign: dict[str, str] = field(default_factory=dict)
    conflicts: list[str] = field(default_factory=list)  # new ones
    refused: dict[str, str] = field(default_factory=dict)
    terminating: list[str] = field(default_factory=list)
    left_over: list[str] = field(default_factory=list)  # deleted ones of an earlier mirror
    mutated: dict[str, list[str]] = field(default_factory=dict)  # with the fields that admission changed, if new
    # deletionTimestamp, finalizers, and the seconds since this process has seen the object being deleted
    deleting: dict[str, tuple[str, list[str], float]] = field(default_factory=dict)
    wait: float = 0.0  # seconds until the first limited repair, 0 if there is none
    is_latest: bool = False  # the API server has no later mirror of this name

    def wait_for(self, seconds: float) -> None:
        """Record that a repair is limited for so many seconds."""
        self.wait = min(self.wait or seconds, seconds)


@dataclass(frozen=True, slots=True)
class ResizePlan:
    """Steps to the wanted storage: adopt, grow, take back, replace the StatefulSet, recreate, delete surplus claims.

    `take_back` are claims that have what is wanted, and still request more than they have. `requested` is the largest
    of these requests.
    `surplus` are claims of removed pods, `absent` names claims that do not exist. `missing` names claims without the
    wanted storage. `foreign` are those of them that are a user's own. `granted` is what every claim has.
    """

    wanted: str
    adopt: list[Json] = field(default_factory=list)
    grow: list[Json] = field(default_factory=list)
    take_back: list[Json] = field(default_factory=list)
    requested: str = ""
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
