"""Tells the log of a certificate outside of mirrors that comes to its end: what should have renewed it has not.

A mirror's own has a condition and an Event; these belong to no object that a person looks at.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from controller.certificates import dates_of
from controller.desired import files
from controller.state import MIRRORS_AUTHORITY, WEBHOOK_AUTHORITY, WEBHOOK_CERTIFICATE
from controller.validity import near

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from common.logs import Logger
    from controller.state import State

# Seconds from one warning of a certificate to the next: a little less than two of the looks that come every 12 hours.
AGAIN: Final = 86_000.0


@dataclass(frozen=True, slots=True)
class Ends:
    """Of both authorities and the webhook's certificate, whoever issues them."""

    state: State
    warning: timedelta
    log: Logger
    _told: dict[str, float] = field(default_factory=dict)

    def tell(self, now: datetime, running: float) -> None:
        """Warns of each once a day. `running` is in seconds of a clock that only goes forward."""
        for name in (MIRRORS_AUTHORITY, WEBHOOK_AUTHORITY, WEBHOOK_CERTIFICATE):
            dates = dates_of(self.state.secret_text(name, files.CERTIFICATE))
            if dates is None or now < near(dates, self.warning):
                self._told.pop(name, None)
            elif name not in self._told or running - self._told[name] >= AGAIN:
                self._told[name] = running
                self.log.warning("certificate ends soon", secret=name, until=dates[1].isoformat())
