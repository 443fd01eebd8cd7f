"""Use the serving certificate of mounted files, and follow their changes."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cache.file_stamp import stamp_of

if TYPE_CHECKING:
    from cache.config import TlsFiles


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


@dataclass(slots=True)
class ServingCertificate:
    """The context of the server. New connections get the certificate that was loaded last."""

    context: ssl.SSLContext = field(default_factory=_context)
    _seen: object = None

    def follow(self, files: TlsFiles) -> bool:
        """Load the files if they changed. Return True if they did. Raises OSError, also for a wrong pair."""
        now = (files, stamp_of(files.certificate), stamp_of(files.key))
        if now == self._seen:
            return False
        self._seen = now
        _context().load_cert_chain(files.certificate, files.key)  # a wrong pair must not reach the server
        self.context.load_cert_chain(files.certificate, files.key)
        return True
