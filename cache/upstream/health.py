"""Remember what an upstream answered, and do not ask again at once after a failure. Pure: time enters as `now`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cache.limited_dict import LimitedDict
from cache.model.errors import TOO_MANY, RegistryError
from common.cache_protocol import UpstreamReason as Reason

if TYPE_CHECKING:
    from collections.abc import Mapping

# Seconds without a request after an outage: doubled at each further one.
FIRST_PAUSE: Final = 2.0
LONGEST_PAUSE: Final = 30.0
# Seconds without a request after 429 that names no time, and the longest time that is believed.
LIMIT_PAUSE: Final = 30.0
LONGEST_LIMIT: Final = 3600.0
# Seconds of the period of a rate limit whose answer names none, as at Docker Hub, and the longest that is believed.
LIMIT_PERIOD: Final = 21600.0
LONGEST_PERIOD: Final = 86400.0
# Seconds between two probes of an upstream that is reachable, and of one that is not.
PROBE_INTERVAL: Final = 300.0
RETRY_INTERVAL: Final = 30.0
_REPOSITORIES_MAX: Final = 1000
# Results of a probe that a refusal of one image does not disprove.
_VERDICTS: Final = frozenset({Reason.UNAUTHORIZED, Reason.FORBIDDEN, Reason.NOT_A_REGISTRY, Reason.NO_TOKEN})


@dataclass(frozen=True, slots=True)
class Circuit:
    """A pause of requests of one kind, and the failures in a row that led to it."""

    error: RegistryError
    until: float
    failures: int


@dataclass(frozen=True, slots=True)
class RateLimit:
    """The rate limit that an upstream named: requests per period, and those that were left. None: not named."""

    limit: int | None = None
    remaining: int | None = None
    until: float = 0.0


NO_LIMIT: Final = RateLimit()


@dataclass(slots=True)
class Health:
    """State of one upstream. `asked` and `probed` are times of the monotonic clock."""

    reason: Reason = Reason.NOT_ASKED
    message: str = "The upstream was not asked yet."
    asked: float | None = None
    probed: float | None = None
    _rate_limit: RateLimit = NO_LIMIT
    _circuits: dict[str, Circuit] = field(default_factory=dict)
    _repositories: LimitedDict[str, Circuit] = field(default_factory=lambda: LimitedDict(_REPOSITORIES_MAX))
    _failing: str = ""  # the repository that failed last, if no answer was usable since

    def refusal(self, kind: str, now: float, repository: str = "") -> RegistryError | None:
        """Return the last error while requests of this kind are paused; None if the upstream may be asked.

        Everything is paused after an outage, and only the same kind after a rate limit.
        """
        for circuit in (self._repositories.get(repository), self._circuits.get(kind), self._circuits.get("")):
            if circuit is not None and now < circuit.until:
                error = circuit.error
                retry_after = circuit.until - now if error.status == TOO_MANY else None
                return RegistryError(error.status, error.message, error.code, retry_after, error.reason)
        return None

    def paused_until(self, now: float) -> float | None:
        """Return when the last pause ends; None if there is none."""
        return max((each.until for each in self._circuits.values() if each.until > now), default=None)

    def begin_probe(self, now: float) -> bool:
        """Return True if a probe is due, and remember that it begins. No probe is due during a pause."""
        interval = PROBE_INTERVAL if self.reason is Reason.REACHABLE else RETRY_INTERVAL
        if self.paused_until(now) is not None or (self.probed is not None and now < self.probed + interval):
            return False
        self.probed = now
        return True

    def renew(self) -> None:
        """Follow new credentials or a new configuration: limits end, and a probe is due."""
        self.probed = None
        self._rate_limit = NO_LIMIT
        self._circuits = {kind: each for kind, each in self._circuits.items() if not kind}

    def succeeded(self, kind: str, now: float) -> None:
        """Record a usable answer."""
        self._close(kind, now)
        if self.paused_until(now) is None:
            self.reason, self.message = Reason.REACHABLE, "The upstream answers."

    def refused(self, kind: str, now: float) -> None:
        """Record the refusal of one image: the upstream is no longer away."""
        if self.reason in _VERDICTS:
            self._close(kind, now)
        else:
            self.succeeded(kind, now)

    def judged(self, error: RegistryError, now: float) -> None:
        """Record that a probe was refused. Requests go on: images may be served nevertheless."""
        self._close("", now)
        self._report(error)

    def failed(self, kind: str, error: RegistryError, now: float, repository: str = "") -> None:
        """Record an outage or a rate limit, and pause requests.

        An error that the upstream answers for one repository pauses that one, until another one fails as well.
        """
        self.asked = now
        self._report(error)
        limited = error.status == TOO_MANY
        is_first = not limited and "" not in self._circuits and self._failing in ("", repository)
        if repository and is_first:
            self._failing = repository
            self._repositories[repository] = Circuit(error, now + FIRST_PAUSE, 1)
            return
        kind = kind if limited else ""
        last = self._circuits.get(kind)
        failures = last.failures if last is not None else 0
        if limited:
            pause = min(LIMIT_PAUSE if error.retry_after is None else error.retry_after, LONGEST_LIMIT)
        elif last is not None and now < last.until:
            return  # requests of the same moment are one failure
        else:
            pause = min(FIRST_PAUSE * 2**failures, LONGEST_PAUSE)
        self._circuits[kind] = Circuit(error, now + pause, failures + 1)

    def note_limit(self, headers: Mapping[str, str], now: float) -> None:
        """Remember the rate limit that an answer names, as Docker Hub does: `ratelimit-remaining: 76;w=21600`."""
        limit, remaining = headers.get("ratelimit-limit"), headers.get("ratelimit-remaining")
        if _count(remaining) is not None:
            before = self.rate_limit(now).limit
            self._rate_limit = RateLimit(_count(limit) or before, _count(remaining), now + _period(remaining))

    def rate_limit(self, now: float) -> RateLimit:
        """Return the last rate limit that was named. After its period nothing is known."""
        return self._rate_limit if now < self._rate_limit.until else NO_LIMIT

    def _close(self, kind: str, now: float) -> None:
        self.asked = now
        self._failing = ""
        self._circuits.pop(kind, None)
        self._circuits.pop("", None)

    def _report(self, error: RegistryError) -> None:
        self.reason, self.message = error.reason or Reason.NOT_A_REGISTRY, error.message


def _period(header: str | None) -> float:
    """Return the seconds after `w=`, as long as they are believed."""
    seconds = _count((header or "").partition("w=")[2])
    return min(float(seconds), LONGEST_PERIOD) if seconds else LIMIT_PERIOD


def _count(header: str | None) -> int | None:
    digits = (header or "").partition(";")[0].strip()
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 10 else None  # noqa: PLR2004
