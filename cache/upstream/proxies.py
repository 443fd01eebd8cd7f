"""Choose the proxy of a request by the rules that Go has for HTTPS_PROXY, HTTP_PROXY and NO_PROXY. Pure."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

_PORTS: Final = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True)
class Proxies:
    """The proxies of the environment; empty means none."""

    https: str = ""
    http: str = ""
    exceptions: str = ""

    def of(self, url: str) -> str | None:
        """Return the URL of the proxy for a request; None if it goes directly."""
        parts = urlsplit(url)
        host = (parts.hostname or "").rstrip(".")
        proxy = self.https if parts.scheme == "https" else self.http
        if not proxy or _is_local(host) or self._is_excepted(host, parts.port or _PORTS.get(parts.scheme, 0)):
            return None
        return proxy if "://" in proxy else f"http://{proxy}"

    def _is_excepted(self, host: str, port: int) -> bool:
        return any(_matches(each.strip().lower(), host, port) for each in self.exceptions.split(",") if each.strip())


def proxies_in(environment: Mapping[str, str]) -> Proxies:
    """Return the proxies of an environment; upper-case names win."""

    def value(name: str) -> str:
        return environment.get(name) or environment.get(name.lower()) or ""

    return Proxies(value("HTTPS_PROXY"), value("HTTP_PROXY"), value("NO_PROXY"))


def _is_local(host: str) -> bool:
    address = _address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def _matches(pattern: str, host: str, port: int) -> bool:
    if pattern == "*":
        return True
    address = _address(host)
    if "/" in pattern:
        return address is not None and _in_network(address, pattern)
    name, wanted_port = _split_port(pattern)
    if wanted_port is not None and wanted_port != str(port):
        return False
    if address is not None or _address(name) is not None:
        return address is not None and address == _address(name)
    name = name.removeprefix("*")
    return host.endswith(name) if name.startswith(".") else host == name or host.endswith(f".{name}")


def _split_port(pattern: str) -> tuple[str, str | None]:
    if _address(pattern) is not None:
        return pattern, None
    name, separator, port = pattern.rpartition(":")
    return (name.strip("[]"), port) if separator else (pattern.strip("[]"), None)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _in_network(address: ipaddress.IPv4Address | ipaddress.IPv6Address, pattern: str) -> bool:
    try:
        return address in ipaddress.ip_network(pattern, strict=False)
    except ValueError:
        return False
