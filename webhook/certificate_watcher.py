"""Keeps the certificate in use the one that its files hold, without a restart and without a failed handshake."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from webhook import key_pair
from webhook.key_pair import PairError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from pathlib import Path

    from common.logs import Logger
    from webhook.key_pair import Certificate

# Seconds between two looks. A look reads two small files (0.1 ms); kubelet itself takes up to a minute to change
# them, so a closer watch would gain nothing there, and a person who waits for a start waits no longer than this.
PAUSE: Final = 1.0


class CertificateWatcher:
    """The certificate in use. `now` gives seconds since 1970.

    `context` goes to the server once and for all: it has no certificate of its own but gives each handshake the
    one in use then. Its callback runs for clients that send no server name too.
    """

    def __init__(self, files: tuple[Path, Path], now: Callable[[], float], log: Logger) -> None:
        self._files = files
        self._now = now
        self._log = log
        self._refusal: str | None = None
        self.current: Certificate | None = None
        self.context = key_pair.new_context()
        self.context.sni_callback = self._choose

    def _choose(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        if self.current is not None:
            connection.context = self.current.context

    def is_ready(self) -> bool:
        """Whether there is a certificate that clients accept now."""
        return self.current is not None and self.current.is_usable(self._now())

    async def follow(self) -> None:
        """Looks at the files again and again, until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(PAUSE)

    def look(self) -> None:
        """Takes up what the files hold, where it is new and can serve; tells each reason not to once."""
        try:
            candidate = self._candidate()
        except PairError as error:
            self._refuse(str(error))
            return
        self._refusal = None
        if candidate is not None:
            self.current = candidate
            self._log.info("certificate taken up", not_after=_date(candidate.not_after), sha256=candidate.fingerprint)

    def _candidate(self) -> Certificate | None:
        """A new certificate in the files; None where they hold the one in use. Raises PairError."""
        pair = key_pair.read(*self._files)
        if self.current is not None and self.current.pair == pair:
            return None
        candidate = key_pair.proved(pair)
        if self.is_ready():  # whatever is wrong with one where there is no other, it may be better than none
            if not candidate.is_usable(self._now()):
                dates = f"{_date(candidate.not_before)} to {_date(candidate.not_after)}"
                raise PairError(f"{pair.certificate_file} is valid from {dates}, and the one in use is valid now")
            key_pair.vouch(candidate)
        return candidate

    def _refuse(self, reason: str) -> None:
        if reason == self._refusal:
            return
        self._refusal = reason
        self._log.warning("certificate refused", reason=reason, still_in_use=self.current and self.current.fingerprint)


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
