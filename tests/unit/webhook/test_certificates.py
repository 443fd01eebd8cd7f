"""Reloading and refusing key pairs."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization

from tests.support.certificates import HOST, Issued, Issuer, Mount
from tests.support.recorder import Recorder
from webhook import key_pair
from webhook.certificate_watcher import CertificateWatcher
from webhook.key_pair import KeyPairError

NOW = 1_800_000_000.0
DAY = 86_400.0
SERVER_AUTH = bytes.fromhex("06082b06010505070301")  # the OID in DER


def watcher_of(mount: Mount, log: Recorder, now: float) -> CertificateWatcher:
    return CertificateWatcher((mount.certificate_file, mount.key_file), lambda: now, log)


def test_pair_has_dates_and_fingerprint(issuer: Issuer, mount: Mount) -> None:
    issued = issuer.issue()
    mount.hold_pair(issued)
    loaded = key_pair.load(key_pair.read(mount.certificate_file, mount.key_file))
    assert loaded.not_after == issued.not_after
    assert loaded.not_before == issued.parsed.not_valid_before_utc.timestamp()
    assert loaded.fingerprint == issued.parsed.fingerprint(hashes.SHA256()).hex()


def test_certificate_is_usable_within_its_dates(issuer: Issuer, mount: Mount) -> None:
    mount.hold_pair(issuer.issue())
    loaded = key_pair.load(key_pair.read(mount.certificate_file, mount.key_file))
    first, last = loaded.not_before, loaded.not_after
    assert [loaded.is_usable(now) for now in (first - 1, first, last - 1, last)] == [False, True, True, False]


def test_plain_files_are_read(issuer: Issuer, tmp_path: Path) -> None:
    issued = issuer.issue()
    files = tmp_path / "serving.pem", tmp_path / "key.pem"
    for file, content in zip(files, (issued.certificate, issued.key), strict=True):
        file.write_bytes(content)
    assert key_pair.load(key_pair.read(*files)).not_after == issued.not_after


def test_chain_is_served(issuer: Issuer, mount: Mount) -> None:
    issued = issuer.issue()
    mount.hold(issued.certificate + issuer.certificate, issued.key)
    assert key_pair.load(key_pair.read(mount.certificate_file, mount.key_file)).not_after == issued.not_after


def encrypted(issued: Issued) -> bytes:
    key = serialization.load_pem_private_key(issued.key, None)
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.BestAvailableEncryption(b"secret"))


def test_unusable_pair_is_refused_with_its_files(issuer: Issuer, mount: Mount) -> None:
    one, other = issuer.issue(), issuer.issue()
    for certificate, key in (
        (one.certificate, other.key),
        (one.certificate, b""),
        (b"", one.key),
        (b"\xff", one.key),
        (one.key, one.certificate),
        (one.certificate, encrypted(one)),
    ):
        mount.hold(certificate, key)
        pair = key_pair.read(mount.certificate_file, mount.key_file)
        with pytest.raises(KeyPairError, match=r"tls\.crt and .*tls\.key are not a usable key pair: "):
            key_pair.load(pair)


def spoiled(issued: Issued, what: str) -> bytes:
    """Return the certificate with a few changed bytes, which OpenSSL still serves."""
    end = issued.parsed.not_valid_after_utc.strftime("%y%m%d%H%M%SZ").encode()
    before, after = {
        "an end in no time zone that X.509 knows": (end, end[:8] + b"+0100"),
        "a purpose other than serving": (SERVER_AUTH, SERVER_AUTH[:-1] + b"\x04"),
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
    "what",
    [
        "an end in no time zone that X.509 knows",
        "an end in month 13",
        "a name that is no text",
        "a purpose other than serving",
    ],
)
def test_unreadable_certificate_is_refused(issuer: Issuer, mount: Mount, what: str) -> None:
    good, bad, log = issuer.issue(), issuer.issue(), Recorder()
    mount.hold_pair(good)
    watcher = watcher_of(mount, log, good.not_after - DAY)
    watcher.reload()
    in_use = watcher.current
    mount.hold(spoiled(bad, what), bad.key)
    watcher.reload()
    (refusal,) = log.named("certificate refused")
    assert "are not a usable key pair" in refusal["reason"]
    assert watcher.current is in_use


def test_comments_may_contain_any_characters(issuer: Issuer, mount: Mount) -> None:
    comment, log = "# f\u00fcr den Webhook\n".encode(), Recorder()
    issued = [issuer.issue() for _ in range(2)]
    watcher = watcher_of(mount, log, issued[0].not_after - DAY)
    for each in issued:  # the issuer is verified only for the second
        mount.hold(comment + each.certificate, each.key, comment + issuer.certificate)
        watcher.reload()
    assert len(log.named("certificate reloaded")) == len(issued)


def test_unreadable_folder_is_reported(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 300)
    with pytest.raises(KeyPairError, match=r"cannot be read: File name too long"):
        key_pair.read(folder / "tls.crt", folder / "tls.key")


def test_missing_file_is_reported(mount: Mount) -> None:
    with pytest.raises(KeyPairError, match=r"tls\.crt cannot be read: No such file or directory"):
        key_pair.read(mount.certificate_file, mount.key_file)


def test_files_of_two_versions_are_not_mixed(issuer: Issuer, mount: Mount, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = issuer.issue(), issuer.issue()
    mount.hold_pair(first)
    plain = Path.read_bytes
    replaced: list[Path] = []

    def read_while_kubelet_writes(path: Path) -> bytes:
        content = plain(path)
        if not replaced:
            replaced.append(path)
            mount.hold_pair(second)
        return content

    monkeypatch.setattr(Path, "read_bytes", read_while_kubelet_writes)
    with pytest.raises(KeyPairError, match=r"tls\.key cannot be read"):  # kubelet removed its folder
        key_pair.read(mount.certificate_file, mount.key_file)
    assert key_pair.read(mount.certificate_file, mount.key_file).key == second.key


def test_new_pair_is_reloaded_once(issuer: Issuer, mount: Mount) -> None:
    issued, log = issuer.issue(), Recorder()
    mount.hold_pair(issued)
    watcher = watcher_of(mount, log, issued.not_after - DAY)
    for _ in range(3):
        watcher.reload()
    (line,) = log.events
    assert line["event"] == "certificate reloaded"
    assert line["sha256"] == issued.parsed.fingerprint(hashes.SHA256()).hex()
    assert line["not_after"] == issued.parsed.not_valid_after_utc.isoformat()
    assert watcher.is_ready()


def test_bad_pair_is_refused_once(issuer: Issuer, mount: Mount) -> None:
    good, log = issuer.issue(), Recorder()
    mount.hold_pair(good)
    watcher = watcher_of(mount, log, good.not_after - DAY)
    watcher.reload()
    in_use = watcher.current
    mount.hold(issuer.issue().certificate, good.key)
    for _ in range(3):
        watcher.reload()
    (refusal,) = log.named("certificate refused")
    assert "are not a usable key pair" in refusal["reason"]
    assert watcher.current is in_use
    mount.hold_pair(issuer.issue())
    watcher.reload()
    assert watcher.current is not in_use, "the next good one is used"


@pytest.mark.parametrize("ca", [b"", b"\n", None], ids=["empty", "blank", "missing"])
def test_pair_without_ca_file_is_used(issuer: Issuer, mount: Mount, ca: bytes | None) -> None:
    good, foreign = issuer.issue(), Issuer("another").issue()
    mount.hold(good.certificate, good.key, issuer.certificate)
    watcher = watcher_of(mount, Recorder(), good.not_after - DAY)
    watcher.reload()
    mount.hold(foreign.certificate, foreign.key, ca)
    watcher.reload()
    assert watcher.current is not None
    assert watcher.current.fingerprint == foreign.parsed.fingerprint(hashes.SHA256()).hex()


@pytest.mark.parametrize("garbled", [False, True])
def test_pair_not_signed_by_its_ca_is_refused(issuer: Issuer, mount: Mount, *, garbled: bool) -> None:
    """An administrator may put another certificate into the controller's Secret."""
    good, foreign, log = issuer.issue(), Issuer("another").issue(), Recorder()
    ca = b"garbled" if garbled else issuer.certificate
    mount.hold(foreign.certificate, foreign.key, ca)
    watcher = watcher_of(mount, log, good.not_after - DAY)
    watcher.reload()
    assert watcher.is_ready(), "it is better than none"
    mount.hold(good.certificate, good.key, issuer.certificate)
    watcher.reload()
    in_use = watcher.current
    mount.hold(foreign.certificate, foreign.key, ca)
    for _ in range(3):
        watcher.reload()
    (refusal,) = log.named("certificate refused")
    assert "is not signed by the ca.crt beside it" in refusal["reason"]
    assert watcher.current is in_use


def test_expired_pair_does_not_replace_valid_one(issuer: Issuer, mount: Mount) -> None:
    good, expired, log = issuer.issue(), issuer.issue(days=(-10, -2)), Recorder()
    mount.hold_pair(good)
    watcher = watcher_of(mount, log, good.not_after - DAY)
    watcher.reload()
    mount.hold_pair(expired)
    watcher.reload()
    assert watcher.is_ready()
    assert "; the one in use is valid now" in log.named("certificate refused")[0]["reason"]


def test_expired_pair_is_served_but_not_ready(issuer: Issuer, mount: Mount) -> None:
    expired = issuer.issue(days=(-10, -2))
    mount.hold_pair(expired)
    watcher = watcher_of(mount, Recorder(), expired.not_after)
    watcher.reload()
    assert watcher.current is not None
    assert not watcher.is_ready()


def test_missing_files_are_reported_once(mount: Mount) -> None:
    log = Recorder()
    watcher = watcher_of(mount, log, NOW)
    for _ in range(3):
        watcher.reload()
    assert len(log.events) == 1
    assert watcher.current is None
    assert not watcher.is_ready()
