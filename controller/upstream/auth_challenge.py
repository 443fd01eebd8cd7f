"""How an upstream wants to be logged in to, read as the registry reads it: what it ignores, we ignore."""

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
        """Where tokens are to be had, for the scheme `bearer`; empty where it is not said."""
        return self.parameters.get("realm", "")


def challenges(headers: Iterable[str]) -> list[Challenge]:
    """The challenges in these WWW-Authenticate headers, one a header: the registry reads no second one."""
    return [found for header in headers if (found := _challenge(header))]


def _challenge(header: str) -> Challenge | None:
    scheme = _TOKEN.match(header)
    return Challenge(scheme[0].lower(), _parameters(header[scheme.end() :])) if scheme else None


def _parameters(text: str) -> dict[str, str]:
    """What can be read from the beginning on: the rest of a malformed header counts for nothing."""
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
    """Whether the registry asks this realm for tokens: it must share host and port or the registrable domain.

    Which domains are registrable says a list of public suffixes that we do not have. Every one of them has two labels
    at least, so that what is refused here is refused by the registry too; the reverse may not be so.
    """
    theirs, ours = _split(realm), _split(upstream)
    if theirs is None or ours is None:
        return False
    if theirs[0].lower() == ours[0].lower():
        return True
    hosts = [theirs[1], ours[1]]
    if any(host == "localhost" or _is_address(host) for host in hosts):
        return False
    ends = [host.split(".")[-2:] for host in hosts]
    # A name of one label has no registrable domain, and two that have none share it.
    return ends[0] == ends[1] or all(len(end) == 1 for end in ends)


def _split(url: str) -> tuple[str, str] | None:
    """Host with port, and host alone in lower case; None where a URL has none."""
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
