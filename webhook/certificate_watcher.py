"""Reload the serving certificate when its files change, without a restart and without a failed handshake."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from webhook import key_pair
from webhook.key_pair import KeyPairError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from pathlib import Path

    from common.logs import Logger
    from webhook.key_pair import Certificate

# Seconds. A check reads two small files in 0.1 ms. kubelet takes up to a minute to update them.
POLL_INTERVAL: Final = 1.0


class CertificateWatcher:
    """Hold the certificate in use. `now` returns seconds since 1970.

    The server keeps `context` for its whole life. The context has no certificate: its callback assigns the current one
    to each handshake. OpenSSL runs the callback for clients without a server name too.
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
        """Return True if clients accept the current certificate now."""
        return self.current is not None and self.current.is_usable(self._now())

    async def watch(self) -> None:
        """Reload until cancelled."""
        while True:
            self.reload()
            await asyncio.sleep(POLL_INTERVAL)

    def reload(self) -> None:
        """Use the certificate in the files if it is new and can serve. Log each reason for a refusal once."""
        try:
            candidate = self._candidate()
        except KeyPairError as error:
            self._refuse(str(error))
            return
        self._refusal = None
        if candidate is not None:
            self.current = candidate
            self._log.info("certificate reloaded", not_after=_date(candidate.not_after), sha256=candidate.fingerprint)

    def _candidate(self) -> Certificate | None:
        """Return the new certificate in the files, or None if they hold the current one. Raise KeyPairError."""
        pair = key_pair.read(*self._files)
        if self.current is not None and self.current.pair == pair:
            return None
        candidate = key_pair.load(pair)
        if self.is_ready():  # a doubtful certificate is better than none, but no better than one that works
            if not candidate.is_usable(self._now()):
                dates = f"{_date(candidate.not_before)} to {_date(candidate.not_after)}"
                raise KeyPairError(f"{pair.certificate_file} is valid from {dates}; the one in use is valid now")
            key_pair.verify_issuer(candidate)
        return candidate

    def _refuse(self, reason: str) -> None:
        if reason == self._refusal:
            return
        self._refusal = reason
        self._log.warning("certificate refused", reason=reason, still_in_use=self.current and self.current.fingerprint)


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
