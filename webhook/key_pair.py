"""Read and verify the serving certificate and its key.

A handshake in memory verifies a key pair before a client is served with it. The handshake also yields the dates of the
certificate. The package `cryptography` could read them too, but its import costs 27 MB.
"""

from __future__ import annotations

import hashlib
import os
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

# OpenSSL's X509_V_FLAG_NO_CHECK_TIME, which the ssl module does not name. `Certificate.is_usable` checks the dates.
_NO_CHECK_TIME: Final = 0x200000
CA_FILE: Final = "ca.crt"  # beside the certificate in the Secrets of the controller and of cert-manager
# A handshake in memory ends within three turns (hello, answer, finished).
_TURNS: Final = 4


class KeyPairError(Exception):
    """A key pair that cannot serve, as one sentence with its files."""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """Contents of the certificate file (with its chain) and the key file, both PEM.

    Two pairs with the same contents are equal. `ca` (PEM) is the expected issuer; it is empty if unknown.
    """

    certificate_file: Path = field(compare=False)
    key_file: Path = field(compare=False)
    certificate: bytes
    key: bytes = field(repr=False)
    ca: bytes = field(default=b"", compare=False)


@dataclass(frozen=True, slots=True)
class Certificate:
    """A verified key pair, its validity in seconds since 1970, and its SHA-256 in hexadecimal."""

    pair: KeyPair
    context: ssl.SSLContext
    not_before: float
    not_after: float
    fingerprint: str

    def is_usable(self, now: float) -> bool:
        """Return True if the certificate is valid at that time."""
        return self.not_before <= now < self.not_after


def read(certificate_file: Path, key_file: Path) -> KeyPair:
    """Return the pair in the files. Raise KeyPairError.

    kubelet replaces the files of a mounted Secret together: it points the link `..data` to another directory. Both
    files are read through one resolved link, so that certificate and key belong together.
    """
    try:
        directories = {file.parent: _resolved(file.parent) for file in (certificate_file, key_file)}
        paths = [directories[file.parent] / file.name for file in (certificate_file, key_file)]
        ca_file = paths[0].with_name(CA_FILE)
        ca = ca_file.read_bytes() if ca_file.exists() else b""
        return KeyPair(paths[0], paths[1], paths[0].read_bytes(), paths[1].read_bytes(), ca)
    except OSError as error:
        raise KeyPairError(f"{error.filename} cannot be read: {error.strerror}") from error


def _resolved(directory: Path) -> Path:
    link = directory / "..data"
    return Path(os.path.realpath(link)) if link.is_symlink() else directory


def load(pair: KeyPair) -> Certificate:
    """Return the pair ready to serve. Raise KeyPairError if key and certificate do not match or no client accepts them.

    Each pair gets a new context: a failed load_cert_chain breaks all later handshakes of its context.
    """
    try:
        context = new_context()
        # Without a password, OpenSSL would ask for one at the terminal and wait.
        context.load_cert_chain(pair.certificate_file, pair.key_file, password="")
        client = _handshake(context, pair.certificate)
        # OpenSSL serves invalid dates and names; only reading them fails.
        fields, der = client.getpeercert(), client.getpeercert(binary_form=True)
        dates = [ssl.cert_time_to_seconds(str(fields[key])) for key in ("notBefore", "notAfter") if fields]
    except (ssl.SSLError, OSError, ValueError) as error:
        message = f"{pair.certificate_file} and {pair.key_file} are not a usable key pair: {error}"
        raise KeyPairError(message) from error
    if not fields or not der:
        raise KeyPairError(f"{pair.certificate_file} failed a handshake")
    return Certificate(pair, context, dates[0], dates[1], hashlib.sha256(der).hexdigest())


def verify_issuer(certificate: Certificate) -> None:
    """Raise KeyPairError if the pair's CA did not sign it: the API server would reject the certificate."""
    pair = certificate.pair
    if not pair.ca.strip():
        return
    try:
        _handshake(certificate.context, pair.ca)
    except (ssl.SSLError, ValueError) as error:
        message = f"{pair.certificate_file} is not signed by the {CA_FILE} beside it: {error}"
        raise KeyPairError(f"{message}. The API server would reject it.") from error


def new_context() -> ssl.SSLContext:
    """Return a server's TLS context without a certificate. It requires TLS 1.2."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _handshake(server_context: ssl.SSLContext, trusted: bytes) -> ssl.SSLObject:
    """Return the client of a handshake with the server. The client trusts only `trusted` (PEM)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # the API server checks the host name
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | _NO_CHECK_TIME
    # Comments in the file may contain any characters.
    context.load_verify_locations(cadata=trusted.decode("ascii", "ignore"))
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(to_client, to_server)
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(_TURNS):
        for end in (client, server):
            _advance(end)
    return client


def _advance(end: ssl.SSLObject) -> None:
    try:
        end.do_handshake()
    except ssl.SSLWantReadError:
        return  # waiting for the other end
