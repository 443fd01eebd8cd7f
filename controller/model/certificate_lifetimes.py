"""Define how long certificates live, and how early and slowly they are replaced."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_YEAR = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """Lifetimes and lead times, with their defaults."""

    # Nodes must learn of each new CA, so it is renewed seldom.
    ca: timedelta = 10 * _YEAR
    # Renewed two years before its end: its last serving certificate, at most a year old, ends before the CA.
    ca_lead: timedelta = 2 * _YEAR
    # Renewed every eight months.
    certificate: timedelta = _YEAR
    # A third of the lifetime: the controller may be down for four months.
    certificate_lead: timedelta = _YEAR / 3
    # A kubelet updates a mounted Secret within 90 s, in large clusters within 390 s. Twice that, for slow API servers.
    overlap: timedelta = timedelta(minutes=15)
    # Time for the administrator to get another certificate. Shorter than the lead of automatic renewals, which is
    # usually a third of 90 days.
    warning: timedelta = timedelta(days=14)

    def problems(self) -> Iterator[str]:
        """Yield a message for each combination of settings that does not work."""
        if min(self.ca, self.ca_lead, self.certificate, self.certificate_lead, self.overlap) < timedelta(seconds=1):
            yield "CA_LIFETIME, CA_LEAD, CERTIFICATE_LIFETIME, CERTIFICATE_LEAD, CERTIFICATE_OVERLAP: at least 1s each"
        if self.ca_lead >= self.ca:
            yield "CA_LEAD must be shorter than CA_LIFETIME: a new CA would be renewed at once"
        if self.certificate_lead >= self.certificate:
            yield (
                "CERTIFICATE_LEAD must be shorter than CERTIFICATE_LIFETIME:"
                " a new serving certificate would be renewed at once"
            )
        if self.ca_lead < self.certificate + self.overlap:
            yield (
                "CA_LEAD must be at least CERTIFICATE_LIFETIME plus CERTIFICATE_OVERLAP:"
                " a serving certificate would outlive its CA"
            )
        if self.overlap >= self.certificate_lead:
            yield (
                "CERTIFICATE_OVERLAP must be shorter than CERTIFICATE_LEAD:"
                " a serving certificate could expire before nodes trust the next CA"
            )
        if self.warning >= self.certificate_lead:
            yield (
                "CERTIFICATE_WARNING must be shorter than CERTIFICATE_LEAD:"
                " certificates that are renewed in time would cause warnings"
            )


DEFAULT = Lifetimes()
