"""Certificates: a pure issue and a pure question. EC P-256 throughout: an RSA key costs 34 ms, one of these 0.1.

PEM text in and out, as it stands in Secrets. An authority may be a person's own, with an RSA key.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Final, cast

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from controller.model.certificate_lifetimes import DEFAULT, Lifetimes
from controller.model.inputs import KeyPair

if TYPE_CHECKING:
    from collections.abc import Iterable

# All that is issued is valid from this day on, before there was any of it. A controller whose clock is two years ahead
# so issues nothing that others refuse as not yet valid.
BEGINNING: Final = datetime(2025, 1, 1, tzinfo=UTC)
# The same for a clock that stands before that day (at 1970, say): its neighbours may be a little behind it.
CLOCK_SKEW: Final = timedelta(hours=1)
_COMMON_NAME_MAX: Final = 64  # X.520's bound; the names that count are in the extension
# Both spellings that are read; openssl itself wrote the longer one once.
_BLOCK: Final = re.compile("-----BEGIN (?:X509 )?CERTIFICATE-----.*?-----END (?:X509 )?CERTIFICATE-----", re.DOTALL)
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


def issue_authority(name: str, now: datetime, lifetimes: Lifetimes = DEFAULT) -> KeyPair:
    """A new self-signed authority that may sign leaves and nothing else."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _subject(name)
    begin = min(BEGINNING, now - CLOCK_SKEW)
    builder = _builder(subject, key, begin, now + lifetimes.authority).issuer_name(subject)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(sign=True), critical=True)
    return _pair(builder.sign(key, hashes.SHA256()), key)


def issue_leaf(authority: KeyPair, hosts: Iterable[str], now: datetime, lifetimes: Lifetimes = DEFAULT) -> KeyPair:
    """A certificate for a server that is reached under `hosts` (DNS names), signed by `authority`.

    Never for longer than that lasts: peers stop trusting with it.
    """
    hosts = tuple(hosts)
    issuer, issuer_key = _certificate(authority.certificate), _key(authority.key)
    key = ec.generate_private_key(ec.SECP256R1())
    begin = min(issuer.not_valid_before_utc, now - CLOCK_SKEW)
    end = min(issuer.not_valid_after_utc, now + lifetimes.leaf)
    builder = _builder(_subject(hosts[0]), key, begin, end).issuer_name(issuer.subject)
    names = x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts])
    builder = builder.add_extension(names, critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(sign=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    builder = builder.add_extension(_issuer_identifier(issuer), critical=False)
    return _pair(builder.sign(issuer_key, hashes.SHA256()), key)


def can_sign(pair: KeyPair | None, now: datetime) -> bool:
    """Whether this is an authority with its own key that has not ended. That its successor may be due is no matter."""
    try:
        if pair is None or not _belong(pair):
            return False
        _key(pair.key)  # TypeError where it is none that we can sign with
        certificate = _certificate(pair.certificate)
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        return constraints.ca and now < certificate.not_valid_after_utc
    except _UNUSABLE:
        return False


def usable_authority(pair: KeyPair | None, now: datetime, lifetimes: Lifetimes = DEFAULT) -> bool:
    """Whether this is an authority that can sign, and its successor is not due."""
    return pair is not None and can_sign(pair, now) and now <= succession_due(pair.certificate, lifetimes)


def succession_due(authority: str, lifetimes: Lifetimes = DEFAULT) -> datetime:
    """When the successor of an authority is to be made.

    A person's own may be shorter-lived than the lead of ours is long; it is respected for two thirds of its life.
    """
    certificate = _certificate(authority)
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    return certificate.not_valid_after_utc - min(lifetimes.authority_lead, life / 3)


def serves(pair: KeyPair | None, hosts: Iterable[str]) -> bool:
    """Whether this certificate, with its own key, is one for exactly `hosts`. Its dates are another question."""
    try:
        if pair is None or not _belong(pair):
            return False
        return sorted(_dns_names(_certificate(pair.certificate))) == sorted(hosts)
    except _UNUSABLE:
        return False


def issued_by(leaf: str, authority: str) -> bool:
    """Whether `authority` signed `leaf`."""
    try:
        _certificate(leaf).verify_directly_issued_by(_certificate(authority))
    except _UNUSABLE:
        return False
    return True


def matches(pair: KeyPair) -> bool:
    """Whether PEM text of anybody's making is a certificate and the key that belongs to it."""
    try:
        return _belong(pair)
    except _UNUSABLE:
        return False


def renewal_due(leaf: str, authority: str, lifetimes: Lifetimes = DEFAULT) -> datetime:
    """When a leaf is to be replaced by another of `authority`: not before its end, where that lasts no longer."""
    end = _certificate(leaf).not_valid_after_utc
    return end if end >= _certificate(authority).not_valid_after_utc else end - lifetimes.leaf_lead


def dates_of(certificate: str | None) -> tuple[datetime, datetime] | None:
    """Beginning and end of the (first) certificate of a PEM text; None where it is none."""
    try:
        parsed = None if certificate is None else _certificate(certificate)
    except _UNUSABLE:
        return None
    return None if parsed is None else (parsed.not_valid_before_utc, parsed.not_valid_after_utc)


def host_names(certificate: str) -> list[str] | None:
    """The DNS names in a certificate; None where nobody can read them, as where one is not ASCII."""
    try:
        names = _dns_names(_certificate(certificate))
    except _UNUSABLE:
        return None
    return names if "".join(names).isascii() else None


def covers(names: Iterable[str], host: str) -> bool:
    """Whether clients accept a certificate of these names under `host`, of which a wildcard stands for one label."""
    return not {host, f"*.{host.partition('.')[2]}"}.isdisjoint(map(str.lower, names))


def spelt(certificate: str) -> str:
    """The (first) certificate of a PEM text in our own spelling. Raises ValueError where it is none."""
    return _certificate(certificate).public_bytes(serialization.Encoding.PEM).decode()


def certificates_in(bundle: str) -> list[str]:
    """Each certificate of a PEM text once, in our own spelling; what is none is left out."""
    found: dict[str, None] = {}
    for block in _BLOCK.findall(bundle):
        try:
            found[spelt(block)] = None
        except _UNUSABLE:
            continue
    return list(found)


def _belong(pair: KeyPair) -> bool:
    return bool(_certificate(pair.certificate).public_key() == _any_key(pair.key).public_key())


def _dns_names(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return names.get_values_for_type(x509.DNSName)


def _issuer_identifier(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    try:
        identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(
            cast("ec.EllipticCurvePublicKey", issuer.public_key())
        )
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:_COMMON_NAME_MAX])])


def _builder(
    subject: x509.Name, key: ec.EllipticCurvePrivateKey, begin: datetime, end: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
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


def _pair(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> KeyPair:
    pem = serialization.Encoding.PEM
    form = serialization.PrivateFormat.PKCS8
    secret = key.private_bytes(pem, form, serialization.NoEncryption())
    return KeyPair(certificate.public_bytes(pem).decode(), secret.decode())


@lru_cache(maxsize=16)  # one look at a mirror asks some ten things of two or three certificates
def _certificate(pem: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem.encode())


def _any_key(pem: str) -> ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey:
    # Checking the primes of an RSA key takes up to a second, for each mirror at each look; that the public halves are
    # one is what is asked here, and TLS itself would fail with a key that is broken otherwise.
    key = serialization.load_pem_private_key(pem.encode(), password=None, unsafe_skip_rsa_key_validation=True)
    return cast("ec.EllipticCurvePrivateKey", key)  # of any algorithm where it is a person's own: only compared then


def _key(pem: str) -> ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey:
    key = _any_key(pem)
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise TypeError("the authority's key is neither RSA nor one of an elliptic curve")
    return key
