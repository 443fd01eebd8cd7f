"""TLS as a scanner sees it. sslscan speaks SSLv2 and SSLv3 itself, which no library does any more."""

from __future__ import annotations

import xml.etree.ElementTree as ET

PACKAGE = {"sslscan": "/usr/bin/sslscan"}  # Debian's, and a file of it
OLD = {"SSLv2", "SSLv3", "TLSv1.0", "TLSv1.1"}
NEW = {"TLSv1.2", "TLSv1.3"}
# Parts of the names of ciphers without encryption, without authentication, or broken.
WEAK = ("NULL", "EXP", "RC4", "RC2", "DES", "MD5", "anon", "ADH", "AECDH", "SEED", "IDEA")
BITS = 128


class Scan:
    """What sslscan found, from its XML."""

    def __init__(self, document: str) -> None:
        test = ET.fromstring(document).find("ssltest")  # noqa: S314 (the scanner's own words)
        assert test is not None, document
        self._test = test
        self.refused = {_named(each) for each in test.iter("protocol") if each.get("enabled") == "0"}
        self.taken = {_named(each) for each in test.iter("protocol") if each.get("enabled") == "1"}
        self.ciphers = {each.get("cipher", ""): int(each.get("bits", "0")) for each in test.iter("cipher")}

    @property
    def weak(self) -> list[str]:
        """Ciphers that nobody should take."""
        return [name for name, bits in self.ciphers.items() if bits < BITS or any(word in name for word in WEAK)]

    def says(self, what: str, attribute: str) -> set[str]:
        """What an element has in an attribute, each time it is there."""
        return {each.get(attribute, "") for each in self._test.iter(what)}


def command(port: int, host: str = "127.0.0.1") -> list[str]:
    """The scanner's command line."""
    return ["sslscan", "--xml=-", "--no-colour", f"{host}:{port}"]


def assert_modern(scan: Scan) -> None:
    """Only what is not broken is taken."""
    assert (scan.refused, scan.taken) == (OLD, NEW)
    assert scan.ciphers
    assert scan.weak == []
    assert scan.says("compression", "supported") <= {"0"}
    assert scan.says("heartbleed", "vulnerable") <= {"0"}


def _named(protocol: ET.Element) -> str:
    kind, version = protocol.get("type", ""), protocol.get("version", "")
    return f"{'SSL' if kind == 'ssl' else 'TLS'}v{version}"
