"""The certificates of a local cluster: one authority for servers and clients alike, ECDSA P-256."""

import datetime as dt
import hashlib
import ipaddress
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

# A local cluster is made and thrown away; nobody keeps one for ten years, and nothing here renews.
LIFETIME = dt.timedelta(days=3650)
BACKDATED = dt.timedelta(minutes=5)  # a clock that is set back a little must not make them invalid


@dataclass(frozen=True)
class Identity:
    """The PEM files of a certificate and its private key."""

    certificate: Path
    key: Path


class Authority:
    """The certificate authority in the files `identity`, made when it is first used; what it issues lies beside it."""

    def __init__(self, identity: Identity, name: str = "local-cluster") -> None:
        self._folder = identity.certificate.parent
        if not identity.certificate.exists():
            _create_authority(identity, name)
        self._key = _read_key(identity.key)
        self._certificate = x509.load_pem_x509_certificate(identity.certificate.read_bytes())

    def server(self, name: str, hosts: Sequence[str], folder: Path | None = None) -> Identity:
        """Issue a serving certificate for DNS names and IP addresses; its files are called `name`."""
        names = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
        usage = ExtendedKeyUsageOID.SERVER_AUTH
        return self._issue((folder or self._folder) / name, _subject(name, ()), usage, names)

    def client(self, user: str, groups: Sequence[str] = (), name: str | None = None) -> Identity:
        """Issue a client certificate: to the API server its common name is the user, its organizations are the groups.

        The files are called `name`, or after user and groups.
        """
        name = name or _file_name(user, groups)
        return self._issue(self._folder / name, _subject(user, groups), ExtendedKeyUsageOID.CLIENT_AUTH, None)

    def _issue(
        self, path: Path, subject: x509.Name, usage: x509.ObjectIdentifier, names: x509.SubjectAlternativeName | None
    ) -> Identity:
        identity = Identity(path.with_name(f"{path.name}.crt"), path.with_name(f"{path.name}.key"))
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            _builder(subject, self._certificate.subject, key)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            # Python 3.13 and newer verify strictly: they want to be told which key has signed
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        if names:
            builder = builder.add_extension(names, critical=False)
        _write_key(identity.key, key)
        identity.certificate.write_bytes(_pem(builder.sign(self._key, hashes.SHA256())))
        return identity


def create_signing_key(path: Path) -> None:
    """Write the key that signs the tokens of service accounts; it goes without a certificate."""
    if not path.exists():
        _write_key(path, ec.generate_private_key(ec.SECP256R1()))


def _create_authority(identity: Identity, name: str) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _subject(name, ())
    usage = x509.KeyUsage(
        key_cert_sign=True,
        crl_sign=True,
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = (
        _builder(subject, subject, key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    _write_key(identity.key, key)
    identity.certificate.write_bytes(_pem(certificate))


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return x509.CertificateBuilder(
        subject_name=subject,
        issuer_name=issuer,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=now - BACKDATED,
        not_valid_after=now + LIFETIME,
    )


def _subject(name: str, groups: Sequence[str]) -> x509.Name:
    pairs = [*((NameOID.ORGANIZATION_NAME, group) for group in groups), (NameOID.COMMON_NAME, name)]
    with warnings.catch_warnings():
        # X.520 stops at 64 characters, which the user name of a service account may exceed; Kubernetes does not mind
        warnings.simplefilter("ignore", UserWarning)
        return x509.Name([x509.NameAttribute(oid, value, _validate=False) for oid, value in pairs])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _file_name(user: str, groups: Sequence[str]) -> str:
    """Name the files of a user: readable, and one name for one pair of user and groups."""
    digest = hashlib.sha256("\0".join([user, *groups]).encode()).hexdigest()[:8]
    readable = re.sub("[^A-Za-z0-9.-]+", "-", user)[:100]  # a file's name ends at 255 bytes
    return f"{readable}-{digest}"


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    path.touch(mode=0o600)
    # "EC PRIVATE KEY": in this form Kubernetes takes one file for signing tokens and for checking them
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
    )


def _read_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"{path} holds no EC key")  # written by us, so this is a bug
    return key
