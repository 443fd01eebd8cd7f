"""Decide from single probes if the mirror is alive, so that one lost packet withdraws nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

# Probes in a row that change the state. The very first answer counts at once.
THRESHOLD: Final = 2


@dataclass(frozen=True, slots=True)
class FailureThreshold:
    """`alive` is None until the first result: the node stays as it is.

    `contrary` counts the latest probes that contradict `alive`.
    """

    alive: bool | None = None
    contrary: int = 0

    def after(self, *, answered: bool) -> FailureThreshold:
        """Return the state after one more probe."""
        if answered == self.alive:
            return FailureThreshold(self.alive)
        contrary = self.contrary + 1
        decided = contrary >= THRESHOLD or (answered and self.alive is None)
        return FailureThreshold(answered) if decided else FailureThreshold(self.alive, contrary)


DEAD: Final = FailureThreshold(alive=False)
