"""Issue certificates that TLS clients accept, and examine arbitrary text."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

from controller.certificates import x509 as certificates
from controller.certificates.x509 import (
    BEGINNING,
    CLOCK_SKEW,
    ca_renewal_due,
    certificates_in,
    covers,
    dates_of,
    host_names,
    is_ca_current,
    is_for,
    is_key_pair,
    issue_ca,
    issue_certificate,
    issued_by,
    renewal_due,
)
from controller.model.certificate_lifetimes import DEFAULT, Lifetimes
from controller.model.inputs import KeyPair

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes

NOW = datetime(2026, 6, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
HOSTS = ("mirror-quay.io", "registry-mirror-quay.mirrors", "registry-mirror-quay.mirrors.svc")
CA = issue_ca("registry mirrors", NOW)
SERVING = issue_certificate(CA, HOSTS, NOW)


def is_usable(pair: KeyPair | None, ca: KeyPair, hosts: Iterable[str], now: datetime) -> bool:
    """Return True if a serving certificate has these hosts, this CA, and need not be renewed."""
    if pair is None or not is_for(pair, hosts) or not issued_by(pair.certificate, ca.certificate):
        return False
    return now <= renewal_due(pair.certificate, ca.certificate)


def test_issued_certificates_are_usable() -> None:
    assert is_ca_current(CA, NOW)
    assert is_usable(SERVING, CA, HOSTS, NOW)
    assert is_key_pair(SERVING)


@pytest.mark.parametrize("hosts", [(), HOSTS[:2], (*HOSTS, "more.example"), ("other.example", *HOSTS[1:])])
def test_certificate_needs_exact_hosts(hosts: tuple[str, ...]) -> None:
    """In any order. MasqueradeUrl may have changed."""
    assert is_usable(SERVING, CA, reversed(HOSTS), NOW)
    assert not is_usable(SERVING, CA, hosts, NOW)


def test_certificate_needs_its_ca() -> None:
    other = issue_ca("registry mirrors", NOW)
    assert not is_usable(SERVING, other, HOSTS, NOW)
    assert not is_usable(SERVING, SERVING, HOSTS, NOW)


@pytest.mark.parametrize(
    ("age", "usable"),
    [
        (timedelta(0), True),
        (-CLOCK_SKEW, True),
        (-CLOCK_SKEW - SECOND, True),  # a clock that is behind renews nothing
        (DEFAULT.certificate - DEFAULT.certificate_lead, True),
        (DEFAULT.certificate - DEFAULT.certificate_lead + SECOND, False),
        (DEFAULT.certificate + SECOND, False),
    ],
)
def test_certificate_is_used_until_renewal(age: timedelta, *, usable: bool) -> None:
    assert is_usable(SERVING, CA, HOSTS, NOW + age) is usable
    assert renewal_due(SERVING.certificate, CA.certificate) == NOW + DEFAULT.certificate - DEFAULT.certificate_lead


@pytest.mark.parametrize(
    ("age", "usable"),
    [
        (-timedelta(days=9999), True),  # a clock that is behind replaces nothing
        (DEFAULT.ca - DEFAULT.ca_lead, True),
        (DEFAULT.ca - DEFAULT.ca_lead + SECOND, False),
    ],
)
def test_ca_is_used_until_renewal(age: timedelta, *, usable: bool) -> None:
    assert is_ca_current(CA, NOW + age) is usable


def test_certificate_ends_with_its_ca() -> None:
    last = NOW + DEFAULT.ca - timedelta(days=30)
    serving = issue_certificate(CA, HOSTS, last)
    end = _parsed(CA).not_valid_after_utc
    assert _parsed(serving).not_valid_after_utc == end
    assert renewal_due(serving.certificate, CA.certificate) == end, "another could not last longer"
    assert is_usable(serving, CA, HOSTS, end)
    assert not is_usable(serving, CA, HOSTS, end + SECOND)


@pytest.mark.parametrize("ahead", [timedelta(0), timedelta(days=730), timedelta(days=-9999)])
def test_wrong_clock_issues_valid_certificates(ahead: timedelta) -> None:
    """A certificate must not be valid only from the time of a wrong clock."""
    ca = issue_ca("registry mirrors", NOW + ahead)
    serving = issue_certificate(CA, HOSTS, NOW + ahead)
    assert _parsed(ca).not_valid_before_utc <= min(BEGINNING, NOW + ahead)
    assert _parsed(serving).not_valid_before_utc <= min(BEGINNING, NOW + ahead)


def test_user_ca_is_renewed_after_two_thirds() -> None:
    own = _self_signed(rsa.generate_private_key(65537, 2048), timedelta(days=300))
    assert ca_renewal_due(own.certificate) == NOW + timedelta(days=200)
    assert is_ca_current(own, NOW + timedelta(days=200))
    assert not is_ca_current(own, NOW + timedelta(days=200) + SECOND)


def _encrypted_key() -> str:
    secret = serialization.BestAvailableEncryption(b"password")
    return _KEY.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, secret).decode()


def _unknown_algorithm(der: bytes) -> bytes:
    curve = bytes.fromhex("06082a8648ce3d030107")
    return der.replace(curve, curve[:-1] + b"\x63")


_KEY = ec.generate_private_key(ec.SECP256R1())
_DER_KEY = _KEY.private_bytes(
    serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
)
_UNKNOWN_KEY = ssl.DER_cert_to_PEM_cert(_unknown_algorithm(_DER_KEY)).replace("CERTIFICATE", "PRIVATE KEY")
_UNKNOWN_CERTIFICATE = ssl.DER_cert_to_PEM_cert(_unknown_algorithm(ssl.PEM_cert_to_DER_cert(SERVING.certificate)))
_OTHER = issue_certificate(CA, HOSTS, NOW)
_GARBLED = {
    "nothing": KeyPair("", ""),
    "no PEM": KeyPair("certificate", "key"),
    "a key without a certificate": KeyPair("", SERVING.key),
    "a certificate without a key": KeyPair(SERVING.certificate, ""),
    "the key of another": KeyPair(SERVING.certificate, _OTHER.key),
    "the two exchanged": KeyPair(SERVING.key, SERVING.certificate),
    "a certificate cut off": KeyPair(SERVING.certificate[:200], SERVING.key),
    "a certificate with a letter changed": KeyPair(SERVING.certificate.replace("M", "N", 1), SERVING.key),
    "a key cut off": KeyPair(SERVING.certificate, SERVING.key[:100]),
    "a key of an unknown algorithm": KeyPair(SERVING.certificate, _UNKNOWN_KEY),
    "a certificate of an unknown algorithm": KeyPair(_UNKNOWN_CERTIFICATE, SERVING.key),
    "letters beyond ASCII": KeyPair("-----BEGIN CERTIFICATE-----\näöü\n-----END CERTIFICATE-----\n", SERVING.key),
}


@pytest.mark.parametrize("pair", _GARBLED.values(), ids=_GARBLED)
def test_damaged_pair_is_unusable(pair: KeyPair) -> None:
    assert not is_key_pair(pair)
    assert not is_usable(pair, CA, HOSTS, NOW)
    assert not is_ca_current(pair, NOW)
    assert pair.certificate == SERVING.certificate or not is_usable(SERVING, pair, HOSTS, NOW), "as a CA"


def test_missing_pair_is_unusable() -> None:
    assert not is_usable(None, CA, HOSTS, NOW)
    assert not is_ca_current(None, NOW)
    assert not is_ca_current(SERVING, NOW), "a certificate that is no CA"


def test_encrypted_key_is_unusable() -> None:
    assert not is_key_pair(KeyPair(_self_signed(_KEY).certificate, _encrypted_key()))


@pytest.mark.parametrize(
    "key",
    [
        rsa.generate_private_key(65537, 2048),
        ec.generate_private_key(ec.SECP384R1()),
        ed25519.Ed25519PrivateKey.generate(),
    ],
    ids=["RSA", "P-384", "Ed25519"],
)
def test_user_pair_may_use_any_algorithm(key: CertificateIssuerPrivateKeyTypes) -> None:
    pair = _self_signed(key)
    assert is_key_pair(pair)
    assert not is_key_pair(KeyPair(pair.certificate, SERVING.key))
    assert not is_usable(pair, CA, HOSTS, NOW)


def test_first_certificate_of_a_chain_counts() -> None:
    assert is_key_pair(KeyPair(SERVING.certificate + CA.certificate, SERVING.key))
    assert not is_key_pair(KeyPair(CA.certificate + SERVING.certificate, SERVING.key))


@pytest.mark.parametrize("key", [rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP384R1())])
def test_user_ca_signs_certificates(key: CertificateIssuerPrivateKeyTypes) -> None:
    own = _self_signed(key)
    assert is_ca_current(own, NOW)
    serving = issue_certificate(own, HOSTS, NOW)
    assert is_usable(serving, own, HOSTS, NOW)
    assert not issued_by(serving.certificate, CA.certificate)


def test_ed25519_ca_cannot_sign() -> None:
    own = _self_signed(ed25519.Ed25519PrivateKey.generate())
    assert is_key_pair(own)
    assert not is_ca_current(own, NOW)


def test_bundle_may_contain_other_text() -> None:
    text = f"# ours\n{CA.certificate}\n-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
    text += SERVING.key + SERVING.certificate.replace("\n", "\r\n") + CA.certificate + "the end"
    assert certificates_in(text) == [CA.certificate, SERVING.certificate]
    assert certificates_in("") == []


@pytest.mark.parametrize(
    ("hosts", "covered"),
    [
        (("mirror-quay.io",), True),
        (("*.io",), True),
        (("*.quay.io", "quay.io", "mirror-quay"), False),
    ],
)
def test_wildcard_covers_one_label(
    hosts: tuple[str, ...],
    covered: bool,  # noqa: FBT001 (a column of the table)
) -> None:
    assert covers(host_names(issue_certificate(CA, hosts, NOW).certificate) or (), "mirror-quay.io") is covered
    assert host_names(CA.certificate) == []


def test_dates_of_other_text_are_none() -> None:
    assert dates_of(SERVING.certificate) == (BEGINNING, NOW + DEFAULT.certificate)
    assert dates_of(SERVING.key) is None
    assert dates_of(None) is None


def test_lifetimes_may_be_seconds() -> None:
    short = Lifetimes(*(timedelta(seconds=each) for each in (60, 40, 30, 12, 5, 3)))
    ca = issue_ca("registry mirrors", NOW, short)
    assert ca_renewal_due(ca.certificate, short) == NOW + timedelta(seconds=20)
    serving = issue_certificate(ca, HOSTS, NOW, short)
    assert renewal_due(serving.certificate, ca.certificate, short) == NOW + timedelta(seconds=18)


def test_key_pair_repr_hides_the_key() -> None:
    assert "PRIVATE KEY" not in repr(SERVING)


def test_host_may_exceed_common_name_limit() -> None:
    host = ".".join(["x" * 60] * 4)
    assert is_usable(issue_certificate(CA, (host,), NOW), CA, (host,), NOW)


def test_keys_and_serial_numbers_are_unique() -> None:
    assert _OTHER.key != SERVING.key
    assert _parsed(_OTHER).serial_number != _parsed(SERVING).serial_number


@pytest.mark.parametrize("host", HOSTS)
def test_client_accepts_each_host(tmp_path: Path, host: str) -> None:
    """Python's ssl checks strictly by RFC 5280, at the present time."""
    ca = issue_ca("registry mirrors", datetime.now(UTC))
    serving = issue_certificate(ca, HOSTS, datetime.now(UTC))
    assert _shake_hands(tmp_path, serving, ca, host) == "TLSv1.3"


def test_client_refuses_other_host_and_ca(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    ca, other = issue_ca("registry mirrors", now), issue_ca("registry mirrors", now)
    serving = issue_certificate(ca, HOSTS, now)
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        _shake_hands(tmp_path, serving, ca, "quay.io")
    with pytest.raises(ssl.SSLCertVerificationError, match=r"certificate signature failure|unable to get local issuer"):
        _shake_hands(tmp_path, serving, other, HOSTS[0])


def test_certificate_cannot_sign_another(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    ca = issue_ca("registry mirrors", now)
    serving = issue_certificate(ca, HOSTS, now)
    forged = issue_certificate(serving, ("docker.io",), now)
    chain = KeyPair(forged.certificate + serving.certificate, forged.key)
    with pytest.raises(ssl.SSLCertVerificationError, match="invalid CA certificate"):
        _shake_hands(tmp_path, chain, ca, "docker.io")


def _shake_hands(folder: Path, serving: KeyPair, ca: KeyPair, host: str) -> str | None:
    for name, text in (("crt", serving.certificate), ("key", serving.key)):
        (folder / name).write_text(text)
    offering = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    offering.load_cert_chain(folder / "crt", folder / "key")
    asking = ssl.create_default_context(cadata=ca.certificate)
    asking.verify_flags |= ssl.VERIFY_X509_STRICT
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = offering.wrap_bio(to_server, to_client, server_side=True)
    client = asking.wrap_bio(to_client, to_server, server_hostname=host)
    finished: set[ssl.SSLObject] = set()
    while len(finished) < 2:
        for side in {client, server} - finished:
            try:
                side.do_handshake()
                finished.add(side)
            except ssl.SSLWantReadError:
                continue
    return client.version()


def _self_signed(key: CertificateIssuerPrivateKeyTypes, life: timedelta = DEFAULT.ca) -> KeyPair:
    """Return a self-signed certificate, as a user may create one."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "registry.example")])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, NOW, NOW + life)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return KeyPair(certificate.public_bytes(pem).decode(), secret.decode())


def _parsed(pair: KeyPair) -> x509.Certificate:
    return certificates._certificate(pair.certificate)
