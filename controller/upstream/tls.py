"""Build the TLS context of probes: system CAs and CA_CERTIFICATE_BUNDLE, as in the caches."""

from __future__ import annotations

import asyncio
import re
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_CERTIFICATE: Final = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


@dataclass(slots=True)
class Trust:
    """Context of the last bundle used."""

    _known: tuple[str | None, ssl.SSLContext] | None = None
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def context(self, bundle: str | None) -> ssl.SSLContext:
        """Return a client context, built in a thread: reading the system CAs takes tens of milliseconds."""
        async with self._lock:
            if self._known is None or self._known[0] != bundle:
                self._known = (bundle, await asyncio.to_thread(client_context, bundle))
            return self._known[1]


def client_context(bundle: str | None) -> ssl.SSLContext:
    """Return a context that trusts as Go does: CAs without key identifiers, and any certificate in the bundle."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    for certificate in _CERTIFICATE.findall(bundle or ""):
        try:
            context.load_verify_locations(cadata=certificate)
        except (ssl.SSLError, ValueError):
            continue  # as Go: what cannot be read is left out, the others count
    return context


def has_system_cas() -> bool:
    """Return True if the image has system CAs. Without them, certificates cannot be verified."""
    paths = ssl.get_default_verify_paths()
    file, folder = paths.cafile, paths.capath
    return bool(file and Path(file).is_file()) or bool(folder and any(Path(folder).glob("*.[0-9]")))
