"""Make TLS contexts for clients: the system's CAs, and those of a bundle beside them."""

from __future__ import annotations

import re
import ssl
from pathlib import Path
from typing import Final

_CERTIFICATE: Final = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


def client_context(bundle: str | None) -> ssl.SSLContext:
    """Return a context that trusts the system's CAs and those in the PEM file `bundle`.

    As in Go, a certificate of the bundle that cannot be read is left out. A serving certificate
    may be trusted itself.
    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    _add(context, bundle)
    return context


def peer_context(ca: str | None) -> ssl.SSLContext:
    """Return a context that trusts the CA file of the mirrors alone."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    _add(context, ca)
    return context


def _add(context: ssl.SSLContext, path: str | None) -> None:
    try:
        content = Path(path).read_text(errors="replace") if path else ""
    except OSError:
        content = ""
    for certificate in _CERTIFICATE.findall(content):
        try:
            context.load_verify_locations(cadata=certificate)
        except (ssl.SSLError, ValueError):
            continue
