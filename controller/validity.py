"""The condition about a mirror's certificate: whether clients accept it, and for how long."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from controller.certificates import covers, dates_of
from controller.conditions import CERTIFICATE_VALID, Condition

if TYPE_CHECKING:
    from datetime import datetime, timedelta

# A certificate that lives for days, renewed by a machine, is near its end in the last sixth of its life.
_SHORT: Final = 6


def certificate_valid(where: str, certificate: str, host: str, now: datetime, warning: timedelta) -> Condition:
    """Judges a certificate that nodes meet under `host`. `where` names its Secret."""
    dates = dates_of(certificate)
    if dates is None:
        return Condition(CERTIFICATE_VALID, "False", "Unreadable", f"{where} holds no certificate.")
    told = f"{where} holds a certificate that is valid until {dates[1]:%Y-%m-%d %H:%M} UTC"
    if now >= dates[1]:
        expired = f"{told}: it has ended, and nodes pull from the upstream. Put another there."
        return Condition(CERTIFICATE_VALID, "False", "Expired", expired)
    if not covers(certificate, host):
        other = (
            f"{where} holds a certificate that is not for {host}, under which nodes reach this mirror; list it there."
        )
        return Condition(CERTIFICATE_VALID, "False", "NameMissing", other)
    if now >= _near(dates, warning):
        soon = f"{told}; then nodes pull from the upstream. Put another there before."
        return Condition(CERTIFICATE_VALID, "True", "ExpiresSoon", soon)
    return Condition(CERTIFICATE_VALID, "True", "Valid", f"{told}.")


def seconds_to_change(certificate: str, now: datetime, warning: timedelta) -> float | None:
    """Seconds until the condition changes by time alone; None where it does not."""
    dates = dates_of(certificate)
    moments = [] if dates is None else [_near(dates, warning), dates[1]]
    return min(((moment - now).total_seconds() for moment in moments if moment > now), default=None)


def _near(dates: tuple[datetime, datetime], warning: timedelta) -> datetime:
    """From when on the end is near."""
    begin, end = dates
    return end - min(warning, (end - begin) / _SHORT)
