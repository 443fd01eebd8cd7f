"""Parse authentication challenges of an upstream as the registry does."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable

_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_SPACE: Final = " \t\r\n"


@dataclass(frozen=True, slots=True)
class Challenge:
    """One WWW-Authenticate header; the scheme and the parameters' names in lower case."""

    scheme: str
    parameters: dict[str, str] = field(default_factory=dict)

    @property
    def realm(self) -> str:
        """Return the URL of the token service for the scheme `bearer`, or an empty string."""
        return self.parameters.get("realm", "")


def challenges(headers: Iterable[str]) -> list[Challenge]:
    """Return the challenge of each WWW-Authenticate header. The registry ignores a second one in a header."""
    schemes = [(header, scheme) for header in headers if (scheme := _TOKEN.match(header))]
    return [Challenge(scheme[0].lower(), _parameters(header[scheme.end() :])) for header, scheme in schemes]


def _parameters(text: str) -> dict[str, str]:
    """Parse up to the first malformed parameter."""
    found: dict[str, str] = {}
    rest = "," + text.lstrip(_SPACE)
    while rest.startswith(","):
        rest = rest[1:].lstrip(_SPACE)
        name = _TOKEN.match(rest)
        if name is None or not rest.startswith("=", name.end()):
            break
        value, rest = _value(rest[name.end() + 1 :])
        if not value:
            break
        found[name[0].lower()] = value
        rest = rest.lstrip(_SPACE)
    return found


def _value(text: str) -> tuple[str, str]:
    quoted = _QUOTED.match(text)
    if quoted:
        return re.sub(r"\\(.)", r"\1", quoted[1], flags=re.DOTALL), text[quoted.end() :]
    token = _TOKEN.match(text)
    return (token[0], text[token.end() :]) if token else ("", text)


def may_get_credentials(upstream: str, realm: str) -> bool:
    """Return True if the registry asks this realm for tokens: same host and port, or same registrable domain.

    The list of public suffixes is not available here. Two labels are compared, so that each realm refused here is
    refused by the registry too.
    """
    asked, configured = _split(realm), _split(upstream)
    if asked is None or configured is None:
        return False
    if asked[0].lower() == configured[0].lower():
        return True
    hosts = [asked[1], configured[1]]
    if any(host == "localhost" or _is_address(host) for host in hosts):
        return False
    domains = [host.split(".")[-2:] for host in hosts]
    # A name of one label has no registrable domain, and two that have none share it.
    return domains[0] == domains[1] or all(len(domain) == 1 for domain in domains)


def _split(url: str) -> tuple[str, str] | None:
    """Return host with port, and host in lower case, or None."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return None
    if not host or parts.scheme not in ("http", "https"):
        return None
    return parts.netloc.rpartition("@")[2], host


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
