"""Who leads, by a Lease: the rule as a pure data structure, in the way of Kubernetes' own components.

A holder is followed by when its record was last seen to change, on our own clock: clocks of two machines are
never compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from common.types import Json

# Seconds, those of Kubernetes' own components: a leader that was killed is followed within LEASE_DURATION; one that
# cannot renew stops writing RENEW_DEADLINE after its last renewal, 5 s before anybody may follow it, which covers a
# request under way and clocks that run at different speeds; it tries every RETRY_PERIOD.
LEASE_DURATION: Final = 15.0
RENEW_DEADLINE: Final = 10.0
RETRY_PERIOD: Final = 2.0
# The longest that a foreign record is believed: no version of ours writes more, a person's mistake may say years.
LONGEST_DURATION: Final = 4 * LEASE_DURATION
_INT32: Final = 2**31  # the API's bound for the count of transitions
# Seconds for one request about the lease, and before the next try after one that failed: three tries that hang fit
# into RENEW_DEADLINE (2 + 3 x 2 + 2 x 0.5 = 9).
REQUEST_TIMEOUT: Final = 2.0
RETRY_AFTER_FAILURE: Final = 0.5


@dataclass(slots=True)
class Election:
    """One candidate's view of the lease. All times are seconds of a clock that counts suspended time."""

    identity: str
    _seen: tuple[str, str, str] = ("", "", "")
    _seen_at: float = 0.0
    _duration: float = 0.0
    _held_until: float = 0.0

    def observe(self, lease: Json | None, now: float) -> None:
        """Takes in the lease as it was just read; None where there is none.

        One that was deleted stands as it was last seen until its holder must have noticed.
        """
        if lease is None:
            self._duration = min(self._duration, LEASE_DURATION)
            return
        spec = lease.get("spec", {})
        record = (spec.get("holderIdentity") or "", spec.get("renewTime") or "", str(spec.get("leaseTransitions", 0)))
        if record != self._seen:
            self._seen, self._seen_at = record, now
            self._duration = min(float(spec.get("leaseDurationSeconds") or 0), LONGEST_DURATION)

    def free_at(self) -> float:
        """When the lease may be taken: at once (0) where nobody or we ourselves hold it, else when it runs out."""
        holder = self._seen[0]
        return 0.0 if holder in ("", self.identity) else self._seen_at + self._duration

    def renewed(self, started: float) -> None:
        """Says that a renewal which was begun at `started` was stored."""
        self._held_until = started + RENEW_DEADLINE

    def lost(self) -> None:
        """Says that the lease is no longer ours."""
        self._held_until = 0.0

    def leads(self, now: float) -> bool:
        """Whether this candidate may write at `now`."""
        return now < self._held_until

    def held_until(self) -> float:
        """Until when it may."""
        return self._held_until

    def record(self, lease: Json | None, wall: datetime, *, release: bool = False) -> Json:
        """The spec to write in order to take or keep the lease, or to give it up. `wall` is what people read in it."""
        spec = dict((lease or {}).get("spec", {}))
        stamp = wall.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        if spec.get("holderIdentity") != self.identity:
            transitions = (int(spec.get("leaseTransitions") or 0) + 1) % _INT32 if lease else 0
            spec |= {"acquireTime": stamp, "leaseTransitions": transitions}
        # A lease that is given up runs out at once; a duration of 0 would be refused.
        duration = 1 if release else int(LEASE_DURATION)
        holder = "" if release else self.identity
        return spec | {"holderIdentity": holder, "renewTime": stamp, "leaseDurationSeconds": duration}
