"""Report certificates that expire: in a condition of their mirror, or in the log."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from controller.certificates.x509 import covers, dates_of, host_names
from controller.objects import well_known
from controller.objects.well_known import MIRRORS_CA, WEBHOOK_CA, WEBHOOK_CERTIFICATE
from controller.status import reasons

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from common.logs import Logger
    from controller.informer.cluster_cache import ClusterCache
    from controller.model.condition import Condition

# A short-lived certificate, which is renewed by a program, expires soon in the last sixth of its life.
_SHORT: Final = 6
# Seconds between two log events about one certificate: less than two reconciles, which are 12 hours apart.
REPEAT_INTERVAL: Final = 86_000.0


@dataclass(frozen=True, slots=True)
class Source:
    """Secret of a certificate (`where`), and what the user must do if it is bad (`fix`)."""

    where: str
    fix: str = "Replace it."


def certificate_valid(source: Source, certificate: str, host: str, now: datetime, warning: timedelta) -> Condition:
    """Return the condition CertificateValid of a certificate that nodes reach under `host`."""
    dates, names = dates_of(certificate), host_names(certificate)
    if dates is None:
        return reasons.UNREADABLE.condition(f"{source.where} holds no readable certificate. {source.fix}")
    if names is None:
        unreadable = f"The host names of the certificate in {source.where} cannot be read; clients refuse it."
        return reasons.UNREADABLE.condition(f"{unreadable} {source.fix}")
    if not dates[0] <= now < dates[1]:
        return _out_of_date(source, dates, now)
    if not covers(names, host):
        other = f"The certificate in {source.where} is not for {host}, which nodes use. Add this name to it."
        return reasons.NAME_MISSING.condition(other)
    soon = now >= expires_soon_at(dates, warning)
    valid = f"The certificate in {source.where} is valid until {_format(dates[1])}."
    message = f"{valid} Then nodes pull from the upstream. {source.fix}" if soon else valid
    return (reasons.EXPIRES_SOON if soon else reasons.CERTIFICATE_IS_VALID).condition(message)


def _out_of_date(source: Source, dates: tuple[datetime, datetime], now: datetime) -> Condition:
    if now < dates[0]:
        early = f"The certificate in {source.where} is valid only from {_format(dates[0])} on."
        return reasons.NOT_YET_VALID.condition(f"{early} Until then nodes pull from the upstream. {source.fix}")
    late = f"The certificate in {source.where} expired on {_format(dates[1])}."
    return reasons.EXPIRED.condition(f"{late} Nodes pull from the upstream. {source.fix}")


def _format(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def seconds_to_change(certificate: str, now: datetime, warning: timedelta) -> float | None:
    """Return the seconds until time changes the condition, or None if it never does."""
    dates = dates_of(certificate)
    moments = [] if dates is None else [dates[0], expires_soon_at(dates, warning), dates[1]]
    return min(((moment - now).total_seconds() for moment in moments if moment > now), default=None)


def expires_soon_at(dates: tuple[datetime, datetime], warning: timedelta) -> datetime:
    """Return the time from which a certificate expires soon."""
    begin, end = dates
    return end - min(warning, (end - begin) / _SHORT)


@dataclass(frozen=True, slots=True)
class ExpiryWarner:
    """Logs that a CA or the webhook's certificate expires soon. These belong to no mirror and have no condition."""

    state: ClusterCache
    warning: timedelta
    log: Logger
    _last: dict[str, float] = field(default_factory=dict)

    def warn(self, now: datetime, running: float) -> None:
        """Log each certificate that expires soon, once a day. `running` is in monotonic seconds."""
        for name in (MIRRORS_CA, WEBHOOK_CA, WEBHOOK_CERTIFICATE):
            dates = dates_of(self.state.secret_text(name, well_known.CERTIFICATE))
            if dates is None or now < expires_soon_at(dates, self.warning):
                self._last.pop(name, None)
            elif name not in self._last or running - self._last[name] >= REPEAT_INTERVAL:
                self._last[name] = running
                self.log.warning("certificate expires soon", secret=name, until=dates[1].isoformat())
