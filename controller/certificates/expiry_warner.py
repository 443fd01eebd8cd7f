"""Tells the log of a certificate outside of mirrors that comes to its end: what should have renewed it has not.

A mirror's own has a condition and an Event; these belong to no object that a person looks at.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from controller.certificates.expiry import near
from controller.certificates.x509 import dates_of
from controller.objects import well_known
from controller.objects.well_known import MIRRORS_AUTHORITY, WEBHOOK_AUTHORITY, WEBHOOK_CERTIFICATE

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from common.logs import Logger
    from controller.informer.cluster_cache import ClusterCache

# Seconds from one warning of a certificate to the next: a little less than two of the looks that come every 12 hours.
REPEAT_INTERVAL: Final = 86_000.0


@dataclass(frozen=True, slots=True)
class ExpiryWarner:
    """Of both authorities and the webhook's certificate, whoever issues them."""

    state: ClusterCache
    warning: timedelta
    log: Logger
    _told: dict[str, float] = field(default_factory=dict)

    def tell(self, now: datetime, running: float) -> None:
        """Warns of each once a day. `running` is in seconds of a clock that only goes forward."""
        for name in (MIRRORS_AUTHORITY, WEBHOOK_AUTHORITY, WEBHOOK_CERTIFICATE):
            dates = dates_of(self.state.secret_text(name, well_known.CERTIFICATE))
            if dates is None or now < near(dates, self.warning):
                self._told.pop(name, None)
            elif name not in self._told or running - self._told[name] >= REPEAT_INTERVAL:
                self._told[name] = running
                self.log.warning("certificate ends soon", secret=name, until=dates[1].isoformat())
