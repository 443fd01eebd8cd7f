"""The brake for what is kept outside of mirrors: an object that somebody else keeps changing is put right more rarely.

Our own next step, on an object that is as we wrote it last, is no repair: it is never braked, and counts for nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from common.logs import Logger
    from common.types import Json
    from controller.apply.conflict_limiter import ConflictLimiter


@dataclass(frozen=True, slots=True)
class Quarrels:
    """By object. `desired` is a fingerprint of what is fought for; `clock` gives seconds that never go backwards."""

    contest: ConflictLimiter
    clock: Callable[[], float]
    log: Logger
    _versions: dict[str, str] = field(default_factory=dict)

    def wait(self, what: str, desired: int, current: Json | None) -> float:
        """Seconds until `what` may be written; 0 where it may be now. Tells the log of a quarrel once a repair."""
        if self._is_ours(what, current):
            return 0.0
        wait = self.contest.wait(what, desired, self.clock())
        if wait and self.contest.news(what):
            self.log.warning("contested", object=what, again_in=round(wait))
        return wait

    def written(self, what: str, desired: int, current: Json | None, stored: Json) -> None:
        """Says that `what` was brought from `live` to `stored`."""
        if not self._is_ours(what, current):
            self.contest.repaired(what, desired, self.clock())
        self._versions[what] = stored["metadata"]["resourceVersion"]

    def _is_ours(self, what: str, current: Json | None) -> bool:
        """Also where there is none: what is made anew is no change of anybody's."""
        return current is None or current["metadata"]["resourceVersion"] == self._versions.get(what)
