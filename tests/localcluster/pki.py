"""Certificates of a local cluster: one CA for servers and clients."""

import datetime as dt
import hashlib
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFETIME = dt.timedelta(days=3650)  # longer than a local cluster is kept: nothing renews its certificates
CLOCK_SKEW = dt.timedelta(minutes=5)


@dataclass(frozen=True)
class Identity:
    """The PEM files of a certificate and its private key."""

    certificate: Path
    key: Path

    def write(self, certificate: bytes, key: bytes) -> "Identity":
        """Write both files, the key readable by the owner alone; return itself."""
        self.key.touch(mode=0o600)
        self.key.write_bytes(key)
        self.certificate.write_bytes(certificate)
        return self


class CertificateAuthority:
    """The CA in the files `identity`, created if they do not exist. It writes what it issues next to them."""

    def __init__(self, identity: Identity, name: str = "local-cluster") -> None:
        self._identity = identity
        if not identity.certificate.exists():
            ca = trustme.CA(organization_unit_name=name)
            identity.write(ca.cert_pem.bytes(), ca.private_key_pem.bytes())

    def server(self, name: str, hosts: Sequence[str], folder: Path | None = None) -> Identity:
        """Issue a serving certificate for DNS names and IP addresses, to files called `name`."""
        ca = trustme.CA.from_pem(self._identity.certificate.read_bytes(), self._identity.key.read_bytes())
        issued = ca.issue_cert(*hosts)
        return self._files(name, folder).write(issued.cert_chain_pems[0].bytes(), issued.private_key_pem.bytes())

    def client(self, user: str, groups: Sequence[str] = (), name: str | None = None) -> Identity:
        """Issue a client certificate to files called `name`, or after user and groups.

        Kubernetes reads the user from the common name and the groups from the organizations. trustme allows only one
        organization, and only 64 characters, which the user of a service account may exceed.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        ca = x509.load_pem_x509_certificate(self._identity.certificate.read_bytes())
        ca_key = serialization.load_pem_private_key(self._identity.key.read_bytes(), password=None)
        now = dt.datetime.now(dt.UTC)
        builder = x509.CertificateBuilder(
            subject_name=_subject(user, groups),
            issuer_name=ca.subject,
            public_key=key.public_key(),
            serial_number=x509.random_serial_number(),
            not_valid_before=now - CLOCK_SKEW,
            not_valid_after=now + LIFETIME,
        ).add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        certificate = builder.sign(ca_key, hashes.SHA256())  # type: ignore[arg-type]  # trustme writes EC keys
        files = self._files(name or _file_name(user, groups))
        return files.write(certificate.public_bytes(serialization.Encoding.PEM), _key_pem(key))

    def _files(self, name: str, folder: Path | None = None) -> Identity:
        folder = folder or self._identity.certificate.parent
        return Identity(folder / f"{name}.crt", folder / f"{name}.key")


def create_signing_key(path: Path) -> None:
    """Write the key that signs the tokens of service accounts, if it does not exist."""
    if not path.exists():
        path.touch(mode=0o600)
        path.write_bytes(_key_pem(ec.generate_private_key(ec.SECP256R1())))


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return the form that Kubernetes accepts for both signing and checking tokens: EC PRIVATE KEY."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )


def _subject(user: str, groups: Sequence[str]) -> x509.Name:
    pairs = [*((NameOID.ORGANIZATION_NAME, group) for group in groups), (NameOID.COMMON_NAME, user)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of names over 64 characters
        return x509.Name([x509.NameAttribute(oid, value, _validate=False) for oid, value in pairs])


def _file_name(user: str, groups: Sequence[str]) -> str:
    """Return a readable file name that is unique to user and groups."""
    digest = hashlib.sha256("\0".join([user, *groups]).encode()).hexdigest()[:8]
    readable = re.sub("[^A-Za-z0-9.-]+", "-", user)[:100]  # a file name has at most 255 bytes
    return f"{readable}-{digest}"
