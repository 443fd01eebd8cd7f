"""Which key pairs are taken up, and which are not."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.support.certificates import HOST, Issued, Issuer, Mount
from tests.support.recorder import Recorder
from webhook import key_pair
from webhook.certificate_watcher import CertificateWatcher
from webhook.key_pair import PairError

NOW = 1_800_000_000.0
DAY = 86_400.0


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
def mount(tmp_path: Path) -> Mount:
    return Mount(tmp_path / "tls")


def rotation_of(mount: Mount, log: Recorder, now: float) -> CertificateWatcher:
    return CertificateWatcher((mount.certificate_file, mount.key_file), lambda: now, log)


def test_a_pair_tells_its_dates_and_its_fingerprint(issuer: Issuer, mount: Mount) -> None:
    issued = issuer.issue()
    mount.hold_pair(issued)
    proved = key_pair.proved(key_pair.read(mount.certificate_file, mount.key_file))
    assert proved.not_after == issued.not_after
    assert proved.not_before == issued.parsed.not_valid_before_utc.timestamp()
    assert proved.fingerprint == issued.parsed.fingerprint(hashes.SHA256()).hex()


def test_a_certificate_is_usable_from_its_first_second_to_before_its_last(issuer: Issuer, mount: Mount) -> None:
    mount.hold_pair(issuer.issue())
    proved = key_pair.proved(key_pair.read(mount.certificate_file, mount.key_file))
    first, last = proved.not_before, proved.not_after
    assert [proved.is_usable(now) for now in (first - 1, first, last - 1, last)] == [False, True, True, False]


def test_files_that_are_plain_files_are_read_as_well(issuer: Issuer, tmp_path: Path) -> None:
    issued = issuer.issue()
    files = tmp_path / "serving.pem", tmp_path / "key.pem"
    for file, content in zip(files, (issued.certificate, issued.key), strict=True):
        file.write_bytes(content)
    assert key_pair.proved(key_pair.read(*files)).not_after == issued.not_after


def test_a_chain_is_served_whole(issuer: Issuer, mount: Mount) -> None:
    issued = issuer.issue()
    mount.hold(issued.certificate + issuer.certificate, issued.key)
    assert key_pair.proved(key_pair.read(mount.certificate_file, mount.key_file)).not_after == issued.not_after


def encrypted(issued: Issued) -> bytes:
    key = serialization.load_pem_private_key(issued.key, None)
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.BestAvailableEncryption(b"secret"))


def test_what_cannot_serve_is_refused_with_a_sentence_that_names_the_files(issuer: Issuer, mount: Mount) -> None:
    one, other = issuer.issue(), issuer.issue()
    client = issuer.issue(usage=ExtendedKeyUsageOID.CLIENT_AUTH)
    for certificate, key in (
        (one.certificate, other.key),
        (one.certificate, b""),
        (b"", one.key),
        (b"\xff", one.key),
        (one.key, one.certificate),
        (one.certificate, encrypted(one)),
        (client.certificate, client.key),
    ):
        mount.hold(certificate, key)
        pair = key_pair.read(mount.certificate_file, mount.key_file)
        with pytest.raises(PairError, match=r"tls\.crt and .*tls\.key are no pair that can serve: "):
            key_pair.proved(pair)


def spoiled(issued: Issued, what: str) -> bytes:
    """The certificate with a few bytes changed, which OpenSSL serves all the same."""
    end = issued.parsed.not_valid_after_utc.strftime("%y%m%d%H%M%SZ").encode()
    before, after = {
        "an end in no time zone that X.509 knows": (end, end[:8] + b"+0100"),
        "an end in month 13": (end, end[:2] + b"13" + end[4:]),
        "a name that is no text": (
            b"\x82%c%b" % (len(HOST), HOST.encode()),
            b"\x82%c\xfc%b" % (len(HOST), HOST[1:].encode()),
        ),
    }[what]
    der = ssl.PEM_cert_to_DER_cert(issued.certificate.decode())
    assert before in der
    return ssl.DER_cert_to_PEM_cert(der.replace(before, after)).encode()


@pytest.mark.parametrize(
    "what", ["an end in no time zone that X.509 knows", "an end in month 13", "a name that is no text"]
)
def test_a_certificate_with_what_cannot_be_told_is_refused_and_the_old_one_stays_in_use(
    issuer: Issuer, mount: Mount, what: str
) -> None:
    good, bad, log = issuer.issue(), issuer.issue(), Recorder()
    mount.hold_pair(good)
    rotation = rotation_of(mount, log, good.not_after - DAY)
    rotation.look()
    in_use = rotation.current
    mount.hold(spoiled(bad, what), bad.key)
    rotation.look()
    (refusal,) = log.named("certificate refused")
    assert "are no pair that can serve" in refusal["reason"]
    assert rotation.current is in_use


def test_comments_may_be_in_any_language(issuer: Issuer, mount: Mount) -> None:
    comment, log = "# f\u00fcr den Webhook\n".encode(), Recorder()
    issued = [issuer.issue() for _ in range(2)]
    rotation = rotation_of(mount, log, issued[0].not_after - DAY)
    for each in issued:  # the second, beside one in use, is also judged by who has signed it
        mount.hold(comment + each.certificate, each.key, comment + issuer.certificate)
        rotation.look()
    assert len(log.named("certificate taken up")) == len(issued)


def test_a_folder_that_cannot_be_looked_at_is_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 300)
    with pytest.raises(PairError, match=r"cannot be read: File name too long"):
        key_pair.read(folder / "tls.crt", folder / "tls.key")


def test_a_missing_file_is_named(mount: Mount) -> None:
    with pytest.raises(PairError, match=r"tls\.crt cannot be read: No such file or directory"):
        key_pair.read(mount.certificate_file, mount.key_file)


def test_both_files_are_read_from_the_folder_that_was_current_when_the_look_began(
    issuer: Issuer, mount: Mount, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = issuer.issue(), issuer.issue()
    mount.hold_pair(first)
    plain = Path.read_bytes
    looked: list[Path] = []

    def read_while_kubelet_writes(path: Path) -> bytes:
        content = plain(path)
        if not looked:
            looked.append(path)
            mount.hold_pair(second)
        return content

    monkeypatch.setattr(Path, "read_bytes", read_while_kubelet_writes)
    with pytest.raises(PairError, match=r"tls\.key cannot be read"):  # gone with its folder, and never mixed
        key_pair.read(mount.certificate_file, mount.key_file)
    assert key_pair.read(mount.certificate_file, mount.key_file).key == second.key


def test_a_new_pair_is_taken_up_once_and_told_with_its_end_and_fingerprint(issuer: Issuer, mount: Mount) -> None:
    issued, log = issuer.issue(), Recorder()
    mount.hold_pair(issued)
    rotation = rotation_of(mount, log, issued.not_after - DAY)
    for _ in range(3):
        rotation.look()
    (line,) = log.events
    assert line["event"] == "certificate taken up"
    assert line["sha256"] == issued.parsed.fingerprint(hashes.SHA256()).hex()
    assert line["not_after"] == issued.parsed.not_valid_after_utc.isoformat()
    assert rotation.is_ready()


def test_a_bad_pair_is_refused_once_and_the_old_one_stays_in_use(issuer: Issuer, mount: Mount) -> None:
    good, log = issuer.issue(), Recorder()
    mount.hold_pair(good)
    rotation = rotation_of(mount, log, good.not_after - DAY)
    rotation.look()
    in_use = rotation.current
    mount.hold(issuer.issue().certificate, good.key)
    for _ in range(3):
        rotation.look()
    (refusal,) = log.named("certificate refused")
    assert "are no pair that can serve" in refusal["reason"]
    assert rotation.current is in_use
    mount.hold_pair(issuer.issue())
    rotation.look()
    assert rotation.current is not in_use, "and the next good one is taken up"


@pytest.mark.parametrize("authority", [b"", b"\n", None], ids=["empty", "blank", "missing"])
def test_a_pair_of_another_authority_is_taken_up_where_none_is_named(
    issuer: Issuer, mount: Mount, authority: bytes | None
) -> None:
    good, others = issuer.issue(), Issuer("another").issue()
    mount.hold(good.certificate, good.key, issuer.certificate)
    rotation = rotation_of(mount, Recorder(), good.not_after - DAY)
    rotation.look()
    mount.hold(others.certificate, others.key, authority)
    rotation.look()
    assert rotation.current is not None
    assert rotation.current.fingerprint == others.parsed.fingerprint(hashes.SHA256()).hex()


@pytest.mark.parametrize("garbled", [False, True])
def test_a_pair_that_its_own_authority_has_not_signed_does_not_replace_one_in_use(
    issuer: Issuer, mount: Mount, *, garbled: bool
) -> None:
    """As somebody leaves it who puts a certificate of theirs into our Secret."""
    good, others, log = issuer.issue(), Issuer("another").issue(), Recorder()
    authority = b"garbled" if garbled else issuer.certificate
    mount.hold(others.certificate, others.key, authority)
    rotation = rotation_of(mount, log, good.not_after - DAY)
    rotation.look()
    assert rotation.is_ready(), "it is better than none"
    mount.hold(good.certificate, good.key, issuer.certificate)
    rotation.look()
    in_use = rotation.current
    mount.hold(others.certificate, others.key, authority)
    for _ in range(3):
        rotation.look()
    (refusal,) = log.named("certificate refused")
    assert "is not signed by what is in ca.crt beside it" in refusal["reason"]
    assert rotation.current is in_use


def test_an_expired_pair_does_not_replace_one_that_is_valid(issuer: Issuer, mount: Mount) -> None:
    good, expired, log = issuer.issue(), issuer.issue(days=(-10, -2)), Recorder()
    mount.hold_pair(good)
    rotation = rotation_of(mount, log, good.not_after - DAY)
    rotation.look()
    mount.hold_pair(expired)
    rotation.look()
    assert rotation.is_ready()
    assert "and the one in use is valid now" in log.named("certificate refused")[0]["reason"]


def test_an_expired_pair_is_served_where_there_is_no_better_one_but_never_ready(issuer: Issuer, mount: Mount) -> None:
    expired = issuer.issue(days=(-10, -2))
    mount.hold_pair(expired)
    rotation = rotation_of(mount, Recorder(), expired.not_after)
    rotation.look()
    assert rotation.current is not None
    assert not rotation.is_ready()


def test_without_files_there_is_no_certificate_and_that_is_told_once(mount: Mount) -> None:
    log = Recorder()
    rotation = rotation_of(mount, log, NOW)
    for _ in range(3):
        rotation.look()
    assert len(log.events) == 1
    assert rotation.current is None
    assert not rotation.is_ready()
