"""Whether the mirror counts as alive, from single answers: one lost packet withdraws nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

# Withdrawn after the second failure in a row, taken up again after the second answer, so that a cache that dies at
# each start is not. The first answer ever counts at once.
IN_A_ROW: Final = 2


@dataclass(frozen=True, slots=True)
class FailureThreshold:
    """`alive` is None until the first word about it: whatever stands on the node then stays.

    `contrary` counts the latest probes that said otherwise.
    """

    alive: bool | None = None
    contrary: int = 0

    def after(self, *, answered: bool) -> FailureThreshold:
        """The state after one more probe."""
        if answered == self.alive:
            return FailureThreshold(self.alive)
        contrary = self.contrary + 1
        decided = contrary >= IN_A_ROW or (answered and self.alive is None)
        return FailureThreshold(answered) if decided else FailureThreshold(self.alive, contrary)


DEAD: Final = FailureThreshold(alive=False)
