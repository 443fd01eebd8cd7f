"""Issue certificates for tests and mount them as kubelet does."""

from __future__ import annotations

import datetime as dt
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trustme
from cryptography import x509

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


class Mount:
    """A folder with tls.crt, tls.key and optionally ca.crt, as kubelet mounts a Secret.

    The files are links through `..data` to a folder per version.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._version = 0
        self.certificate_file = folder / "tls.crt"
        self.key_file = folder / "tls.key"
        folder.mkdir(exist_ok=True)
        for file in (self.certificate_file, self.key_file):
            file.symlink_to(f"..data/{file.name}")

    def hold(self, certificate: bytes, key: bytes, ca: bytes | None = None) -> None:
        """Replace all files at once and remove the old version, as kubelet does."""
        data = self._folder / "..data"
        old = data.resolve() if data.is_symlink() else None
        self._version += 1
        fresh = self._folder / f"..version_{self._version}"
        fresh.mkdir()
        (fresh / "tls.crt").write_bytes(certificate)
        (fresh / "tls.key").write_bytes(key)
        if ca is not None:
            (fresh / "ca.crt").write_bytes(ca)
        link = self._folder / "..data_tmp"
        link.symlink_to(fresh.name)
        os.replace(link, data)  # noqa: PTH105 (the atomic rename that kubelet uses)
        if old is not None:
            for file in old.iterdir():
                file.unlink()
            old.rmdir()

    def hold_pair(self, issued: Issued) -> None:
        """Replace certificate and key."""
        self.hold(issued.certificate, issued.key)
