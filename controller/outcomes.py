"""What one reconcile came to. Types, so that nobody has to read a sentence to decide what happens next."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Done:
    """All is as desired; the next event brings the key back."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Something outside must happen first. `after` seconds are the longest wait before looking again.

    `deaf` seconds are the shortest, whatever news comes: where there is so much of it that it would keep a worker busy.
    """

    after: float
    reason: str
    deaf: float = 0.0


@dataclass(frozen=True, slots=True)
class Stalled:
    """Only a person can mend it, and the status says how. No retry: the person's change is an event."""

    reason: str
    message: str


Outcome = Done | Waiting | Stalled
