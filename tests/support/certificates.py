"""Issue certificates for tests and mount them as kubelet does."""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from pathlib import Path

HOST = "webhook.registry-mirror.svc"
_DAY = dt.timedelta(days=1)


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
        self._name = _named(name)
        self._key = ec.generate_private_key(ec.SECP256R1())
        basic = x509.BasicConstraints(ca=True, path_length=0)
        signed = _builder(self._name, self._name, self._key, (-1, 30)).add_extension(basic, critical=True)
        self.certificate = _pem(signed.sign(self._key, hashes.SHA256()))

    def issue(
        self,
        days: tuple[float, float] = (-1, 10),
        usage: x509.ObjectIdentifier | None = None,
        hosts: tuple[str, ...] = (HOST,),
    ) -> Issued:
        """Return a serving certificate for the hosts and 127.0.0.1, valid between `days` from now."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = [*map(x509.DNSName, hosts), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        builder = _builder(_named(hosts[0]), self._name, key, days)
        for extension, critical in (
            (x509.BasicConstraints(ca=False, path_length=None), True),
            (x509.ExtendedKeyUsage([usage or ExtendedKeyUsageOID.SERVER_AUTH]), False),
            (x509.SubjectAlternativeName(names), False),
            (x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), False),
        ):
            builder = builder.add_extension(extension, critical=critical)
        plain = serialization.NoEncryption()
        form = serialization.PrivateFormat.PKCS8
        return Issued(
            _pem(builder.sign(self._key, hashes.SHA256())),
            key.private_bytes(serialization.Encoding.PEM, form, plain),
        )


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


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: tuple[float, float]
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + days[0] * _DAY)
        .not_valid_after(now + days[1] * _DAY)
    )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
