"""Choose the proxy of a request by the rules of Go, as the registry does."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from controller.settings import ControllerSettings

_PORTS = {"https": 443, "http": 80}


def proxy_for(url: str, settings: ControllerSettings) -> str | None:
    """Return the URL of the proxy, or None."""
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    proxy = settings.https_proxy if parts.scheme == "https" else settings.http_proxy
    if not proxy or _is_local(host) or _is_excepted(host, parts.port or _PORTS[parts.scheme], settings.no_proxy):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _is_local(host: str) -> bool:
    address = _address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def _is_excepted(host: str, port: int, no_proxy: str) -> bool:
    return any(_matches(each.strip().lower(), host, port) for each in no_proxy.split(",") if each.strip())


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
