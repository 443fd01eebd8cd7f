"""Issue certificates for tests and mount them as kubelet does."""

from __future__ import annotations

import datetime as dt
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trustme
from cryptography import x509

from tests.support.secret_mount import SecretMount

if TYPE_CHECKING:
    from pathlib import Path

HOST = "webhook.registry-mirror.svc"


@dataclass(frozen=True)
class Issued:
    """A certificate and its key, as PEM."""

    certificate: bytes
    key: bytes

    @property
    def parsed(self) -> x509.Certificate:
        """Return the parsed certificate."""
        return x509.load_pem_x509_certificate(self.certificate)

    @property
    def serial(self) -> str:
        """Return the serial number in the ssl module's form."""
        number = self.parsed.serial_number
        return number.to_bytes((number.bit_length() + 7) // 8, "big").hex().upper()

    @property
    def not_after(self) -> float:
        """Return the expiry in seconds since 1970."""
        return self.parsed.not_valid_after_utc.timestamp()


class Issuer:
    """A CA."""

    def __init__(self, name: str = "an issuer") -> None:
        self._ca = trustme.CA(organization_unit_name=name)
        self.certificate = self._ca.cert_pem.bytes()

    def issue(self, days: tuple[float, float] = (-1, 10), hosts: tuple[str, ...] = (HOST,)) -> Issued:
        """Return a serving certificate for the hosts and 127.0.0.1, valid between `days` from now."""
        now = dt.datetime.now(dt.UTC)
        first, last = (now + dt.timedelta(days=each) for each in days)
        issued = self._ca.issue_cert(*hosts, "127.0.0.1", common_name=hosts[0], not_before=first, not_after=last)
        return Issued(issued.cert_chain_pems[0].bytes(), issued.private_key_pem.bytes())

    def server_context(self) -> ssl.SSLContext:
        """Return the TLS context of a server at 127.0.0.1."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._ca.issue_cert("127.0.0.1").configure_cert(context)
        return context


class Mount(SecretMount):
    """A mounted Secret with tls.crt, tls.key and optionally ca.crt."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, ("tls.crt", "tls.key"))
        self.certificate_file = folder / "tls.crt"
        self.key_file = folder / "tls.key"

    def hold(self, certificate: bytes, key: bytes, ca: bytes | None = None) -> None:
        """Replace all files at once."""
        self.replace({"tls.crt": certificate, "tls.key": key, **({} if ca is None else {"ca.crt": ca})})

    def hold_pair(self, issued: Issued) -> None:
        """Replace certificate and key."""
        self.hold(issued.certificate, issued.key)
