"""Scan TLS servers with sslscan. It implements SSLv2 and SSLv3, unlike today's libraries."""

from __future__ import annotations

import xml.etree.ElementTree as ET

PACKAGE = {"sslscan": "/usr/bin/sslscan"}  # Debian's, and a file of it
OLD = {"SSLv2", "SSLv3", "TLSv1.0", "TLSv1.1"}
NEW = {"TLSv1.2", "TLSv1.3"}
# Parts of the names of ciphers without encryption, without authentication, or broken.
WEAK = ("NULL", "EXP", "RC4", "RC2", "DES", "MD5", "anon", "ADH", "AECDH", "SEED", "IDEA")
BITS = 128


class Scan:
    """The result of sslscan, from its XML."""

    def __init__(self, document: str) -> None:
        test = ET.fromstring(document).find("ssltest")  # noqa: S314 (the scanner wrote it)
        assert test is not None, document
        self._test = test
        self.refused = {_version(each) for each in test.iter("protocol") if each.get("enabled") == "0"}
        self.accepted = {_version(each) for each in test.iter("protocol") if each.get("enabled") == "1"}
        self.ciphers = {each.get("cipher", ""): int(each.get("bits", "0")) for each in test.iter("cipher")}

    @property
    def weak(self) -> list[str]:
        """Return the accepted ciphers that are weak."""
        return [name for name, bits in self.ciphers.items() if bits < BITS or any(word in name for word in WEAK)]

    def values(self, element: str, attribute: str) -> set[str]:
        """Return the values of an attribute in all elements of that name."""
        return {each.get(attribute, "") for each in self._test.iter(element)}


def command(port: int, host: str = "127.0.0.1") -> list[str]:
    """Return the scanner's command line."""
    return ["sslscan", "--xml=-", "--no-colour", f"{host}:{port}"]


def assert_modern(scan: Scan) -> None:
    """Assert that the server accepts only current protocols and strong ciphers."""
    assert (scan.refused, scan.accepted) == (OLD, NEW)
    assert scan.ciphers
    assert scan.weak == []
    assert scan.values("compression", "supported") <= {"0"}
    assert scan.values("heartbleed", "vulnerable") <= {"0"}


def _version(protocol: ET.Element) -> str:
    kind, version = protocol.get("type", ""), protocol.get("version", "")
    return f"{'SSL' if kind == 'ssl' else 'TLS'}v{version}"
