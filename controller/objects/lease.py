"""Decide leader election by a Lease, like the components of Kubernetes. Pure.

A lease expires some time after its record last changed, on this machine's clock. Clocks of two machines are never
compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from common.types import Json

# Seconds, as in Kubernetes. A killed leader is replaced after LEASE_DURATION. One that cannot renew stops writing at
# RENEW_DEADLINE. The 5 s between cover a request in flight and clocks of different speeds.
LEASE_DURATION: Final = 15.0
RENEW_DEADLINE: Final = 10.0
RETRY_PERIOD: Final = 2.0
# Upper bound for the duration in a lease: a user's mistake may be years.
LONGEST_DURATION: Final = 4 * LEASE_DURATION
_INT32: Final = 2**31  # the API's bound for the count of transitions
# Seconds for one lease request, and until the next after a failure. Three requests that time out fit into
# RENEW_DEADLINE (2 + 3 x 2 + 2 x 0.5 = 9).
REQUEST_TIMEOUT: Final = 2.0
RETRY_AFTER_FAILURE: Final = 0.5


@dataclass(slots=True)
class Election:
    """View of one candidate on the lease. All times are seconds of a clock that counts suspended time."""

    identity: str
    _seen: tuple[str, str, str] = ("", "", "")
    _seen_at: float = 0.0
    _duration: float = 0.0
    _held_until: float = 0.0

    def observe(self, lease: Json | None, now: float) -> None:
        """Record the lease as it was just read, or None if there is none.

        A deleted lease counts until its holder must have noticed the deletion.
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
        """Return the time when the lease may be acquired: 0 without another holder, else its expiry."""
        holder = self._seen[0]
        return 0.0 if holder in ("", self.identity) else self._seen_at + self._duration

    def renewed(self, started: float) -> None:
        """Record that a renewal that began at `started` was stored."""
        self._held_until = started + RENEW_DEADLINE

    def lost(self) -> None:
        """Record that another candidate has the lease."""
        self._held_until = 0.0

    def leads(self, now: float) -> bool:
        """Return True if this candidate may write at `now`."""
        return now < self._held_until

    def held_until(self) -> float:
        """Return the time until which this candidate may write."""
        return self._held_until

    def record(self, lease: Json | None, wall: datetime, *, release: bool = False) -> Json:
        """Return the spec that acquires, renews or releases the lease. `wall` is the time in it, for users."""
        spec = dict((lease or {}).get("spec", {}))
        stamp = wall.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        if spec.get("holderIdentity") != self.identity:
            transitions = (int(spec.get("leaseTransitions") or 0) + 1) % _INT32 if lease else 0
            spec |= {"acquireTime": stamp, "leaseTransitions": transitions}
        # A released lease expires at once; the API server refuses a duration of 0.
        duration = 1 if release else int(LEASE_DURATION)
        holder = "" if release else self.identity
        return spec | {"holderIdentity": holder, "renewTime": stamp, "leaseDurationSeconds": duration}
