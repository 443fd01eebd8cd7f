"""The serving certificate, from mounted files: a key pair, the question whether it is usable, the one in use.

A pair is proved by a handshake in memory before anybody is served with it. That also tells its dates without the
package cryptography, whose import alone costs 27 MB.
"""

from __future__ import annotations

import hashlib
import os
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

# OpenSSL's X509_V_FLAG_NO_CHECK_TIME, which the ssl module does not name: an expired certificate is judged by us.
_NO_CHECK_TIME: Final = 0x200000
AUTHORITY: Final = "ca.crt"  # beside the certificate, where a Secret has it: ours, and cert-manager's
# A handshake in memory takes three turns (hello, its answer, finished); more never end one.
_TURNS: Final = 4


class PairError(Exception):
    """A key pair that cannot be served, in a sentence that names its files."""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """Certificate and key as two files hold them at one moment, both PEM, the certificate with its chain.

    Two are equal where they hold the same, wherever they stand. `authority` (PEM) is what is said to have signed it;
    empty where nothing is said.
    """

    certificate_file: Path = field(compare=False)
    key_file: Path = field(compare=False)
    certificate: bytes
    key: bytes = field(repr=False)
    authority: bytes = field(default=b"", compare=False)


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate that serves: its validity in seconds since 1970, its SHA-256 in hexadecimal."""

    pair: KeyPair
    context: ssl.SSLContext
    not_before: float
    not_after: float
    fingerprint: str

    def is_usable(self, now: float) -> bool:
        """Whether clients accept it at this time."""
        return self.not_before <= now < self.not_after


def read(certificate_file: Path, key_file: Path) -> KeyPair:
    """The pair that stands in the files now. Raises PairError.

    Kubernetes replaces the files of a mounted Secret together, by turning the link `..data` to another directory.
    The link is followed once for both files; followed once for each, it could give the key of one pair and the
    certificate of another.
    """
    try:
        directories = {file.parent: _resolved(file.parent) for file in (certificate_file, key_file)}
        paths = [directories[file.parent] / file.name for file in (certificate_file, key_file)]
        beside = paths[0].with_name(AUTHORITY)
        authority = beside.read_bytes() if beside.exists() else b""
        return KeyPair(paths[0], paths[1], paths[0].read_bytes(), paths[1].read_bytes(), authority)
    except OSError as error:
        raise PairError(f"{error.filename} cannot be read: {error.strerror}") from error


def _resolved(directory: Path) -> Path:
    link = directory / "..data"
    return Path(os.path.realpath(link)) if link.is_symlink() else directory


def proved(pair: KeyPair) -> Certificate:
    """The pair ready to serve. Raises PairError where key and certificate do not match or no client takes them.

    Always in a new context: a failed load_cert_chain into one that serves would end all its later handshakes.
    """
    try:
        context = new_context()
        # With a password, if an empty one, because OpenSSL asks the terminal for one otherwise and waits.
        context.load_cert_chain(pair.certificate_file, pair.key_file, password="")
        client = _handshake(context, pair.certificate)
        # OpenSSL serves dates that are none and names that are no text; only to tell them fails.
        told, leaf = client.getpeercert(), client.getpeercert(binary_form=True)
        dates = [ssl.cert_time_to_seconds(str(told[key])) for key in ("notBefore", "notAfter") if told]
    except (ssl.SSLError, OSError, ValueError) as error:
        raise PairError(f"{pair.certificate_file} and {pair.key_file} are no pair that can serve: {error}") from error
    if not told or not leaf:
        raise PairError(f"{pair.certificate_file} did not come through a handshake")
    return Certificate(pair, context, dates[0], dates[1], hashlib.sha256(leaf).hexdigest())


def vouch(certificate: Certificate) -> None:
    """Raises PairError where what is said to have signed it has not: the API server would refuse it."""
    pair = certificate.pair
    if not pair.authority.strip():
        return
    try:
        _handshake(certificate.context, pair.authority)
    except (ssl.SSLError, ValueError) as error:
        where = f"{pair.certificate_file} is not signed by what is in {AUTHORITY} beside it"
        raise PairError(f"{where}, so that the API server would refuse it: {error}") from error


def new_context() -> ssl.SSLContext:
    """A server's context without a certificate: TLS 1.2 at least, which every API server of today speaks."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _handshake(server_context: ssl.SSLContext, trusted: bytes) -> ssl.SSLObject:
    """A client's end of a handshake with the server; `trusted` (PEM) is all that it trusts."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # the names are between the API server and the certificate's issuer
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | _NO_CHECK_TIME
    # A file may have comments in any language.
    context.load_verify_locations(cadata=trusted.decode("ascii", "ignore"))
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(to_client, to_server)
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(_TURNS):
        for end in (client, server):
            _step(end)
    return client


def _step(end: ssl.SSLObject) -> None:
    try:
        end.do_handshake()
    except ssl.SSLWantReadError:
        return  # its turn is over; the other end has what it waits for
