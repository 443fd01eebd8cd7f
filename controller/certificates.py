"""Certificates: a pure issue and a pure question. EC P-256 throughout: an RSA key costs 34 ms, one of these 0.1.

PEM text in and out, as it stands in Secrets. Lifetimes are generous for authorities, which nodes must be told about
before they change, and short for what they sign, which changes by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, cast

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from collections.abc import Iterable

AUTHORITY_LIFETIME: Final = timedelta(days=3650)
LEAF_LIFETIME: Final = timedelta(days=365)
# A leaf is replaced when a third of its life is left: four months, in which a controller may be away.
LEAF_LEAD: Final = LEAF_LIFETIME / 3
# Nodes whose clocks are behind must not refuse a certificate that was issued a moment ago.
CLOCK_SKEW: Final = timedelta(hours=1)
_COMMON_NAME_MAX: Final = 64  # X.520's bound; the names that count are in the extension
# What text that anybody may have put into a Secret can end in.
_UNUSABLE: Final = (
    ValueError,
    TypeError,
    InvalidSignature,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.ExtensionNotFound,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its private key, both PEM."""

    certificate: str
    key: str = field(repr=False)


def issue_authority(name: str, now: datetime) -> Pair:
    """A new self-signed authority that may sign leaves and nothing else."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _subject(name)
    builder = _builder(subject, key, now, AUTHORITY_LIFETIME).issuer_name(subject)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(sign=True), critical=True)
    return _pair(builder.sign(key, hashes.SHA256()), key)


def issue_leaf(authority: Pair, hosts: Iterable[str], now: datetime) -> Pair:
    """A certificate for a server that is reached under `hosts` (DNS names), signed by `authority`."""
    hosts = tuple(hosts)
    issuer, issuer_key = _certificate(authority.certificate), _key(authority.key)
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(_subject(hosts[0]), key, now, LEAF_LIFETIME).issuer_name(issuer.subject)
    names = x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts])
    builder = builder.add_extension(names, critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(sign=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    builder = builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False
    )
    return _pair(builder.sign(issuer_key, hashes.SHA256()), key)


def usable_authority(pair: Pair | None, now: datetime) -> bool:
    """Whether this is an authority, with its own key, that lasts longer than a leaf that it would sign now."""
    try:
        if pair is None or not _belong(pair):
            return False
        certificate = _certificate(pair.certificate)
        _key(pair.key)  # TypeError where it is none that we can sign with
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
        return constraints.ca and _lasts(certificate, now + LEAF_LIFETIME)
    except _UNUSABLE:
        return False


def usable_leaf(pair: Pair | None, authority: Pair, hosts: Iterable[str], now: datetime) -> bool:
    """Whether this certificate, with its own key, serves exactly `hosts`, is `authority`'s and not near its end."""
    try:
        if pair is None or not _belong(pair):
            return False
        certificate = _certificate(pair.certificate)
        certificate.verify_directly_issued_by(_certificate(authority.certificate))
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        known = names.get_values_for_type(x509.DNSName)
        return sorted(known) == sorted(hosts) and _lasts(certificate, now + LEAF_LEAD)
    except _UNUSABLE:
        return False


def matches(pair: Pair) -> bool:
    """Whether PEM text of anybody's making is a certificate and the key that belongs to it."""
    try:
        return _belong(pair)
    except _UNUSABLE:
        return False


def renewal_due(certificate: str) -> datetime:
    """When a leaf of ours is to be replaced."""
    return _certificate(certificate).not_valid_after_utc - LEAF_LEAD


def _belong(pair: Pair) -> bool:
    return bool(_certificate(pair.certificate).public_key() == _any_key(pair.key).public_key())


def _lasts(certificate: x509.Certificate, until: datetime) -> bool:
    """Its beginning is not looked at: a clock that is behind must not make a leader replace every certificate."""
    return until <= certificate.not_valid_after_utc


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:_COMMON_NAME_MAX])])


def _builder(
    subject: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, lifetime: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + lifetime)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(*, sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign,
        key_cert_sign=sign,
        crl_sign=sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pair(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Pair:
    pem = serialization.Encoding.PEM
    form = serialization.PrivateFormat.PKCS8
    secret = key.private_bytes(pem, form, serialization.NoEncryption())
    return Pair(certificate.public_bytes(pem).decode(), secret.decode())


def _certificate(pem: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem.encode())


def _any_key(pem: str) -> ec.EllipticCurvePrivateKey:
    # Checking the primes of an RSA key takes up to a second, for each mirror at each look; that the public halves are
    # one is what is asked here, and TLS itself would fail with a key that is broken otherwise.
    key = serialization.load_pem_private_key(pem.encode(), password=None, unsafe_skip_rsa_key_validation=True)
    return cast("ec.EllipticCurvePrivateKey", key)  # of any algorithm where it is a person's own: only compared then


def _key(pem: str) -> ec.EllipticCurvePrivateKey:
    key = _any_key(pem)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError("the authority's key is not one of an elliptic curve")
    return key
