"""Certificates are issued as TLS clients accept them; whether one is usable can be asked of any text, at any time."""

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
    certificates_in,
    covers,
    dates_of,
    host_names,
    issue_authority,
    issue_leaf,
    issued_by,
    matches,
    renewal_due,
    serves,
    succession_due,
    usable_authority,
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
AUTHORITY = issue_authority("registry mirrors", NOW)
LEAF = issue_leaf(AUTHORITY, HOSTS, NOW)


def usable_leaf(pair: KeyPair | None, authority: KeyPair, hosts: Iterable[str], now: datetime) -> bool:
    """Whether a leaf may stay in use: it serves, is the authority's, and is not to be renewed."""
    if pair is None or not serves(pair, hosts) or not issued_by(pair.certificate, authority.certificate):
        return False
    return now <= renewal_due(pair.certificate, authority.certificate)


def test_what_was_just_issued_is_usable() -> None:
    assert usable_authority(AUTHORITY, NOW)
    assert usable_leaf(LEAF, AUTHORITY, HOSTS, NOW)
    assert matches(LEAF)


def test_the_order_of_hosts_does_not_matter() -> None:
    assert usable_leaf(LEAF, AUTHORITY, reversed(HOSTS), NOW)


@pytest.mark.parametrize("hosts", [(), HOSTS[:2], (*HOSTS, "more.example"), ("other.example", *HOSTS[1:])])
def test_a_leaf_for_other_hosts_is_not_usable(hosts: tuple[str, ...]) -> None:
    """Neither one that lacks a host nor one that has another: masqueradeUrl may have changed."""
    assert not usable_leaf(LEAF, AUTHORITY, hosts, NOW)


def test_a_leaf_of_another_authority_is_not_usable_even_if_that_has_the_same_name() -> None:
    other = issue_authority("registry mirrors", NOW)
    assert not usable_leaf(LEAF, other, HOSTS, NOW)
    assert not usable_leaf(LEAF, LEAF, HOSTS, NOW)


@pytest.mark.parametrize(
    ("age", "usable"),
    [
        (timedelta(0), True),
        (-CLOCK_SKEW, True),
        (-CLOCK_SKEW - SECOND, True),  # a clock that is behind replaces nothing
        (DEFAULT.leaf - DEFAULT.leaf_lead, True),
        (DEFAULT.leaf - DEFAULT.leaf_lead + SECOND, False),
        (DEFAULT.leaf + SECOND, False),
    ],
)
def test_a_leaf_is_used_from_its_beginning_until_a_third_of_its_life_is_left(
    age: timedelta,
    usable: bool,  # noqa: FBT001 (a column of the table)
) -> None:
    assert usable_leaf(LEAF, AUTHORITY, HOSTS, NOW + age) is usable


def test_renewal_is_due_exactly_when_a_leaf_stops_being_usable() -> None:
    due = renewal_due(LEAF.certificate, AUTHORITY.certificate)
    assert due == NOW + DEFAULT.leaf - DEFAULT.leaf_lead
    assert usable_leaf(LEAF, AUTHORITY, HOSTS, due)
    assert not usable_leaf(LEAF, AUTHORITY, HOSTS, due + SECOND)


@pytest.mark.parametrize(
    ("age", "usable"),
    [
        (-timedelta(days=9999), True),  # a clock that is behind replaces nothing
        (DEFAULT.authority - DEFAULT.authority_lead, True),
        (DEFAULT.authority - DEFAULT.authority_lead + SECOND, False),
    ],
)
def test_an_authority_is_used_until_its_successor_is_due(
    age: timedelta,
    usable: bool,  # noqa: FBT001 (a column of the table)
) -> None:
    assert usable_authority(AUTHORITY, NOW + age) is usable


def test_a_leaf_signed_at_the_last_moment_ends_no_later_than_its_authority() -> None:
    last = NOW + DEFAULT.authority - timedelta(days=30)
    leaf = issue_leaf(AUTHORITY, HOSTS, last)
    end = _parsed(AUTHORITY).not_valid_after_utc
    assert _parsed(leaf).not_valid_after_utc == end
    assert renewal_due(leaf.certificate, AUTHORITY.certificate) == end, "another could not last longer"
    assert usable_leaf(leaf, AUTHORITY, HOSTS, end)
    assert not usable_leaf(leaf, AUTHORITY, HOSTS, end + SECOND)


@pytest.mark.parametrize("ahead", [timedelta(0), timedelta(days=730), timedelta(days=-9999)])
def test_what_is_issued_by_a_clock_that_is_years_off_is_valid_now(ahead: timedelta) -> None:
    """Not yet valid it would be from the day on that the clock says; ended, where the clock is behind by its life."""
    authority = issue_authority("registry mirrors", NOW + ahead)
    leaf = issue_leaf(AUTHORITY, HOSTS, NOW + ahead)
    assert _parsed(authority).not_valid_before_utc <= min(BEGINNING, NOW + ahead)
    assert _parsed(leaf).not_valid_before_utc <= min(BEGINNING, NOW + ahead)


def test_a_persons_own_authority_is_respected_for_two_thirds_of_its_life() -> None:
    own = _self_signed(rsa.generate_private_key(65537, 2048), timedelta(days=300))
    assert succession_due(own.certificate) == NOW + timedelta(days=200)
    assert usable_authority(own, NOW + timedelta(days=200))
    assert not usable_authority(own, NOW + timedelta(days=200) + SECOND)


def test_a_leaf_is_no_authority() -> None:
    assert not usable_authority(LEAF, NOW)


_OTHER = issue_leaf(AUTHORITY, HOSTS, NOW)
_GARBLED = {
    "nothing": KeyPair("", ""),
    "no PEM": KeyPair("certificate", "key"),
    "a key without a certificate": KeyPair("", LEAF.key),
    "a certificate without a key": KeyPair(LEAF.certificate, ""),
    "the key of another": KeyPair(LEAF.certificate, _OTHER.key),
    "the two exchanged": KeyPair(LEAF.key, LEAF.certificate),
    "a certificate cut off": KeyPair(LEAF.certificate[:200], LEAF.key),
    "a certificate with a letter changed": KeyPair(LEAF.certificate.replace("M", "N", 1), LEAF.key),
    "a key cut off": KeyPair(LEAF.certificate, LEAF.key[:100]),
    "letters beyond ASCII": KeyPair("-----BEGIN CERTIFICATE-----\näöü\n-----END CERTIFICATE-----\n", LEAF.key),
}


@pytest.mark.parametrize("pair", _GARBLED.values(), ids=_GARBLED)
def test_garbled_text_is_not_usable_and_no_exception(pair: KeyPair) -> None:
    assert not matches(pair)
    assert not usable_leaf(pair, AUTHORITY, HOSTS, NOW)
    assert not usable_authority(pair, NOW)


@pytest.mark.parametrize("authority", _GARBLED.values(), ids=_GARBLED)
def test_a_garbled_authority_makes_no_leaf_usable(authority: KeyPair) -> None:
    ours = authority.certificate == LEAF.certificate
    assert ours or not usable_leaf(LEAF, authority, HOSTS, NOW)


def test_nothing_at_all_is_not_usable() -> None:
    assert not usable_leaf(None, AUTHORITY, HOSTS, NOW)
    assert not usable_authority(None, NOW)


def test_an_encrypted_key_is_not_usable() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    secret = serialization.BestAvailableEncryption(b"password")
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, secret).decode()
    assert not matches(KeyPair(_self_signed(key).certificate, pem))


def test_a_key_of_an_algorithm_that_nobody_knows_is_not_usable() -> None:
    """It ends in an exception of its own kind, and every mirror would crash on one such Secret."""
    key = ec.generate_private_key(ec.SECP256R1())
    form = (serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    curve = bytes.fromhex("06082a8648ce3d030107")
    unknown = key.private_bytes(*form).replace(curve, curve[:-1] + b"\x63")
    pem = ssl.DER_cert_to_PEM_cert(unknown).replace("CERTIFICATE", "PRIVATE KEY")
    assert not matches(KeyPair(LEAF.certificate, pem))
    certificate = ssl.PEM_cert_to_DER_cert(LEAF.certificate).replace(curve, curve[:-1] + b"\x63")
    assert not matches(KeyPair(ssl.DER_cert_to_PEM_cert(certificate), LEAF.key))


@pytest.mark.parametrize(
    "key",
    [
        rsa.generate_private_key(65537, 2048),
        ec.generate_private_key(ec.SECP384R1()),
        ed25519.Ed25519PrivateKey.generate(),
    ],
    ids=["RSA", "P-384", "Ed25519"],
)
def test_a_pair_of_a_persons_own_matches_whatever_its_algorithm(key: CertificateIssuerPrivateKeyTypes) -> None:
    """DOCKER_CERTIFICATE_SECRET holds what a company's own authority issues."""
    pair = _self_signed(key)
    assert matches(pair)
    assert not matches(KeyPair(pair.certificate, LEAF.key))
    assert not usable_leaf(pair, AUTHORITY, HOSTS, NOW)


def test_the_first_certificate_of_a_chain_is_the_one_that_counts() -> None:
    assert matches(KeyPair(LEAF.certificate + AUTHORITY.certificate, LEAF.key))
    assert not matches(KeyPair(AUTHORITY.certificate + LEAF.certificate, LEAF.key))


@pytest.mark.parametrize("key", [rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP384R1())])
def test_an_authority_of_a_persons_own_signs_leaves(key: CertificateIssuerPrivateKeyTypes) -> None:
    own = _self_signed(key)
    assert usable_authority(own, NOW)
    leaf = issue_leaf(own, HOSTS, NOW)
    assert usable_leaf(leaf, own, HOSTS, NOW)
    assert not issued_by(leaf.certificate, AUTHORITY.certificate)


def test_an_authority_with_a_key_that_we_cannot_sign_with_is_of_no_use() -> None:
    own = _self_signed(ed25519.Ed25519PrivateKey.generate())
    assert matches(own)
    assert not usable_authority(own, NOW)


def test_the_certificates_of_a_bundle_are_found_between_anything_else() -> None:
    text = f"# ours\n{AUTHORITY.certificate}\n-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
    text += LEAF.key + LEAF.certificate.replace("\n", "\r\n") + AUTHORITY.certificate + "the end"
    assert certificates_in(text) == [AUTHORITY.certificate, LEAF.certificate]
    assert certificates_in("") == []


@pytest.mark.parametrize(
    ("hosts", "covered"),
    [
        (("mirror-quay.io",), True),
        (("*.io",), True),
        (("*.quay.io", "quay.io", "mirror-quay"), False),
    ],
)
def test_a_certificate_covers_its_names_and_one_label_for_a_wildcard(
    hosts: tuple[str, ...],
    covered: bool,  # noqa: FBT001 (a column of the table)
) -> None:
    assert covers(host_names(issue_leaf(AUTHORITY, hosts, NOW).certificate) or (), "mirror-quay.io") is covered
    assert host_names(AUTHORITY.certificate) == []


def test_dates_are_told_of_a_certificate_alone() -> None:
    assert dates_of(LEAF.certificate) == (BEGINNING, NOW + DEFAULT.leaf)
    assert dates_of(LEAF.key) is None
    assert dates_of(None) is None


def test_lifetimes_can_be_seconds() -> None:
    short = Lifetimes(*(timedelta(seconds=each) for each in (60, 40, 30, 12, 5, 3)))
    authority = issue_authority("registry mirrors", NOW, short)
    assert succession_due(authority.certificate, short) == NOW + timedelta(seconds=20)
    leaf = issue_leaf(authority, HOSTS, NOW, short)
    assert renewal_due(leaf.certificate, authority.certificate, short) == NOW + timedelta(seconds=18)


def test_a_pair_does_not_show_its_key_where_it_is_printed() -> None:
    assert "PRIVATE KEY" not in repr(LEAF)


def test_a_host_name_longer_than_a_common_name_may_be_is_served_too() -> None:
    host = ".".join(["x" * 60] * 4)
    assert usable_leaf(issue_leaf(AUTHORITY, (host,), NOW), AUTHORITY, (host,), NOW)


def test_keys_and_serial_numbers_are_new_each_time() -> None:
    assert _OTHER.key != LEAF.key
    assert _parsed(_OTHER).serial_number != _parsed(LEAF).serial_number


@pytest.mark.parametrize("host", HOSTS)
def test_a_client_that_trusts_the_authority_shakes_hands_under_each_host(tmp_path: Path, host: str) -> None:
    """With Python's own ssl and its strictest reading of RFC 5280, in memory; now, as that is when a client checks."""
    authority = issue_authority("registry mirrors", datetime.now(UTC))
    leaf = issue_leaf(authority, HOSTS, datetime.now(UTC))
    assert _shake_hands(tmp_path, leaf, authority, host) == "TLSv1.3"


def test_a_client_refuses_another_host_and_another_authority(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    authority, other = issue_authority("registry mirrors", now), issue_authority("registry mirrors", now)
    leaf = issue_leaf(authority, HOSTS, now)
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        _shake_hands(tmp_path, leaf, authority, "quay.io")
    with pytest.raises(ssl.SSLCertVerificationError, match=r"certificate signature failure|unable to get local issuer"):
        _shake_hands(tmp_path, leaf, other, HOSTS[0])


def test_a_leaf_cannot_sign_another(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    authority = issue_authority("registry mirrors", now)
    leaf = issue_leaf(authority, HOSTS, now)
    forged = issue_leaf(leaf, ("docker.io",), now)
    chain = KeyPair(forged.certificate + leaf.certificate, forged.key)
    with pytest.raises(ssl.SSLCertVerificationError, match="invalid CA certificate"):
        _shake_hands(tmp_path, chain, authority, "docker.io")


def _shake_hands(folder: Path, leaf: KeyPair, authority: KeyPair, host: str) -> str | None:
    for name, text in (("crt", leaf.certificate), ("key", leaf.key)):
        (folder / name).write_text(text)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(folder / "crt", folder / "key")
    asking = ssl.create_default_context(cadata=authority.certificate)
    asking.verify_flags |= ssl.VERIFY_X509_STRICT
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = serving.wrap_bio(to_server, to_client, server_side=True)
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


def _self_signed(key: CertificateIssuerPrivateKeyTypes, life: timedelta = DEFAULT.authority) -> KeyPair:
    """A certificate that is its own authority, as a person makes one for a registry."""
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
