"""The condition about a mirror's certificate: whether clients accept it, and for how long."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from controller.certificates.x509 import covers, dates_of, host_names
from controller.model.condition import CERTIFICATE_VALID, Condition

if TYPE_CHECKING:
    from datetime import datetime, timedelta

# A certificate that lives for days, renewed by a machine, is near its end in the last sixth of its life.
_SHORT: Final = 6


@dataclass(frozen=True, slots=True)
class Source:
    """Where a certificate comes from: `where` names its Secret, `way_out` says what to do about a bad one."""

    where: str
    way_out: str = "Put another there."


def certificate_valid(source: Source, certificate: str, host: str, now: datetime, warning: timedelta) -> Condition:
    """Judges a certificate that nodes meet under `host`."""
    dates, names = dates_of(certificate), host_names(certificate)
    holds = f"{source.where} holds a certificate"
    if dates is None:
        return Condition(CERTIFICATE_VALID, "False", "Unreadable", f"{source.where} holds no certificate.")
    if names is None:
        unread = f"{holds} whose names cannot be read; clients refuse it. {source.way_out}"
        return Condition(CERTIFICATE_VALID, "False", "Unreadable", unread)
    if not dates[0] <= now < dates[1]:
        return _out_of_time(f"{holds} that is valid", dates, now, source.way_out)
    if not covers(names, host):
        other = f"{holds} that is not for {host}, under which nodes reach this mirror; list it there."
        return Condition(CERTIFICATE_VALID, "False", "NameMissing", other)
    told = f"{holds} that is valid until {_shown(dates[1])}"
    if now >= near(dates, warning):
        soon = f"{told}; then nodes pull from the upstream. {source.way_out}"
        return Condition(CERTIFICATE_VALID, "True", "ExpiresSoon", soon)
    return Condition(CERTIFICATE_VALID, "True", "Valid", f"{told}.")


def _out_of_time(told: str, dates: tuple[datetime, datetime], now: datetime, way_out: str) -> Condition:
    if now < dates[0]:
        early = f"{told} only from {_shown(dates[0])} on; until then nodes pull from the upstream. {way_out}"
        return Condition(CERTIFICATE_VALID, "False", "NotYetValid", early)
    expired = f"{told} until {_shown(dates[1])}: it has ended, and nodes pull from the upstream. {way_out}"
    return Condition(CERTIFICATE_VALID, "False", "Expired", expired)


def _shown(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def seconds_to_change(certificate: str, now: datetime, warning: timedelta) -> float | None:
    """Seconds until the condition changes by time alone; None where it does not."""
    dates = dates_of(certificate)
    moments = [] if dates is None else [dates[0], near(dates, warning), dates[1]]
    return min(((moment - now).total_seconds() for moment in moments if moment > now), default=None)


def near(dates: tuple[datetime, datetime], warning: timedelta) -> datetime:
    """From when on the end is near."""
    begin, end = dates
    return end - min(warning, (end - begin) / _SHORT)
