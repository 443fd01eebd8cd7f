"""Whom a probe trusts: the system's authorities and those of CA_CERTIFICATE_BUNDLE, as the caches do."""

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
    """The context of the bundle that was asked for last: there is one bundle at a time."""

    _known: tuple[str | None, ssl.SSLContext] | None = None
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def context(self, bundle: str | None) -> ssl.SSLContext:
        """A context for clients. It takes tens of milliseconds to read the system's authorities, so in a thread."""
        async with self._lock:
            if self._known is None or self._known[0] != bundle:
                self._known = (bundle, await asyncio.to_thread(client_context, bundle))
            return self._known[1]


def client_context(bundle: str | None) -> ssl.SSLContext:
    """Trusts as Go does: authorities without key identifiers, and any certificate that was given as one."""
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


def has_system_authorities() -> bool:
    """Whether there are any: an image without them cannot judge certificates that the cache's image can."""
    paths = ssl.get_default_verify_paths()
    file, folder = paths.cafile, paths.capath
    return bool(file and Path(file).is_file()) or bool(folder and any(Path(folder).glob("*.[0-9]")))
