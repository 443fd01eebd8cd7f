"""Issue and examine certificates. All input and output is PEM text, as in Secrets.

Issued keys are EC P-256: one takes 0.1 ms, an RSA key 34 ms. A CA given by the user may have an RSA key.
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

# Certificates are valid from this day on, so that a controller whose clock is ahead issues usable ones.
BEGINNING: Final = datetime(2025, 1, 1, tzinfo=UTC)
# The same if the clock is before that day.
CLOCK_SKEW: Final = timedelta(hours=1)
_COMMON_NAME_MAX: Final = 64  # X.520; clients read the names in the extension
# Old versions of openssl wrote the longer label.
_BLOCK: Final = re.compile("-----BEGIN (?:X509 )?CERTIFICATE-----.*?-----END (?:X509 )?CERTIFICATE-----", re.DOTALL)
# Errors that arbitrary text in a Secret can raise.
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


def issue_ca(name: str, now: datetime, lifetimes: Lifetimes = DEFAULT) -> KeyPair:
    """Issue a self-signed CA that can sign serving certificates only."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _subject(name)
    begin = min(BEGINNING, now - CLOCK_SKEW)
    builder = _builder(subject, key, begin, now + lifetimes.ca).issuer_name(subject)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(sign=True), critical=True)
    return _pair(builder.sign(key, hashes.SHA256()), key)


def issue_certificate(ca: KeyPair, hosts: Iterable[str], now: datetime, lifetimes: Lifetimes = DEFAULT) -> KeyPair:
    """Issue a serving certificate for `hosts` (DNS names). It ends with the CA at the latest."""
    hosts = tuple(hosts)
    issuer, issuer_key = _certificate(ca.certificate), _key(ca.key)
    key = ec.generate_private_key(ec.SECP256R1())
    begin = min(issuer.not_valid_before_utc, now - CLOCK_SKEW)
    end = min(issuer.not_valid_after_utc, now + lifetimes.certificate)
    builder = _builder(_subject(hosts[0]), key, begin, end).issuer_name(issuer.subject)
    names = x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts])
    builder = builder.add_extension(names, critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(sign=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    builder = builder.add_extension(_issuer_identifier(issuer), critical=False)
    return _pair(builder.sign(issuer_key, hashes.SHA256()), key)


def can_sign(pair: KeyPair | None, now: datetime) -> bool:
    """Return True if this is a CA with its key, and not expired."""
    try:
        if pair is None or not _belong(pair):
            return False
        _key(pair.key)  # raises TypeError if the algorithm is unsupported
        certificate = _certificate(pair.certificate)
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        return constraints.ca and now < certificate.not_valid_after_utc
    except _UNUSABLE:
        return False


def is_ca_current(pair: KeyPair | None, now: datetime, lifetimes: Lifetimes = DEFAULT) -> bool:
    """Return True if this is a CA that can sign and need not be renewed yet."""
    return pair is not None and can_sign(pair, now) and now <= ca_renewal_due(pair.certificate, lifetimes)


def ca_renewal_due(ca: str, lifetimes: Lifetimes = DEFAULT) -> datetime:
    """Return the time to renew a CA: before its last third, if a user's CA is short-lived."""
    certificate = _certificate(ca)
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    return certificate.not_valid_after_utc - min(lifetimes.ca_lead, life / 3)


def is_for(pair: KeyPair | None, hosts: Iterable[str]) -> bool:
    """Return True if this certificate has its key and exactly these host names. Dates are not checked."""
    try:
        if pair is None or not _belong(pair):
            return False
        return sorted(_dns_names(_certificate(pair.certificate))) == sorted(hosts)
    except _UNUSABLE:
        return False


def issued_by(serving: str, ca: str) -> bool:
    """Return True if `ca` signed `serving`."""
    try:
        _certificate(serving).verify_directly_issued_by(_certificate(ca))
    except _UNUSABLE:
        return False
    return True


def is_key_pair(pair: KeyPair) -> bool:
    """Return True if this is a certificate with its key."""
    try:
        return _belong(pair)
    except _UNUSABLE:
        return False


def renewal_due(serving: str, ca: str, lifetimes: Lifetimes = DEFAULT) -> datetime:
    """Return the time to renew a serving certificate: its end, if the CA ends too."""
    end = _certificate(serving).not_valid_after_utc
    return end if end >= _certificate(ca).not_valid_after_utc else end - lifetimes.certificate_lead


def dates_of(certificate: str | None) -> tuple[datetime, datetime] | None:
    """Return begin and end of the first certificate in a PEM text, or None."""
    try:
        parsed = None if certificate is None else _certificate(certificate)
    except _UNUSABLE:
        return None
    return None if parsed is None else (parsed.not_valid_before_utc, parsed.not_valid_after_utc)


def host_names(certificate: str) -> list[str] | None:
    """Return the DNS names of a certificate, or None if one is unreadable or not ASCII."""
    try:
        names = _dns_names(_certificate(certificate))
    except _UNUSABLE:
        return None
    return names if "".join(names).isascii() else None


def covers(names: Iterable[str], host: str) -> bool:
    """Return True if a client accepts these names for `host`. A wildcard matches one label."""
    return not {host, f"*.{host.partition('.')[2]}"}.isdisjoint(map(str.lower, names))


def normalized(certificate: str) -> str:
    """Return the first certificate of a PEM text in a canonical form. Raise ValueError if there is none."""
    return _certificate(certificate).public_bytes(serialization.Encoding.PEM).decode()


def certificates_in(bundle: str) -> list[str]:
    """Return each valid certificate of a PEM text once, in the canonical form."""
    found: dict[str, None] = {}
    for block in _BLOCK.findall(bundle):
        try:
            found[normalized(block)] = None
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


@lru_cache(maxsize=16)  # a reconcile reads two or three certificates some ten times
def _certificate(pem: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem.encode())


def _any_key(pem: str) -> ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey:
    # Validating an RSA key takes up to a second. The public keys are compared here; TLS would reject a broken key.
    key = serialization.load_pem_private_key(pem.encode(), password=None, unsafe_skip_rsa_key_validation=True)
    return cast("ec.EllipticCurvePrivateKey", key)  # a user's key may have any algorithm


def _key(pem: str) -> ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey:
    key = _any_key(pem)
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise TypeError("the CA's key must be RSA or EC")
    return key
