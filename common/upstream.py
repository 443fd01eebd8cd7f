"""The upstream registry, from what a person writes in upstreamUrl to what the cache will ask.

The registry takes a path in remoteurl for its first ping only and drops it afterwards in silence, and user
information would end in logs and in status: both are refused here rather than understood.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from common import names

DOCKER_HUB: Final = "registry-1.docker.io"
DOCKER_HUB_IMAGES: Final = "docker.io"
# What people type for Docker Hub. None of them speaks the registry's protocol under that name.
DOCKER_HUB_ALIASES: Final = frozenset({"docker.io", "hub.docker.io", "hub.docker.com", "index.docker.io"})

_PORTS: Final = {"https": 443, "http": 80}
_MAX_LENGTH: Final = 512  # characters: a DNS name has 253, scheme and port few; a bound for hostile input
_AUTHORITY: Final = re.compile(r"(?P<host>\[[^\[\]]*\]|[^:\[\]]*)(?::(?P<port>[^:]*))?")


@dataclass(frozen=True, slots=True)
class Upstream:
    """A registry as it will be asked.

    `port` is None where it is the scheme's own; an IPv6 host stands without brackets.
    """

    scheme: str
    host: str
    port: int | None = None

    @property
    def authority(self) -> str:
        """`host[:port]` as it stands in a URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """`scheme://host[:port]`, without a slash at the end: the registry's remoteurl, and status.upstream."""
        return f"{self.scheme}://{self.authority}"

    @property
    def image_host(self) -> str:
        """What image names of this registry start with, `docker.io` for Docker Hub."""
        return DOCKER_HUB_IMAGES if self.authority == DOCKER_HUB else self.authority

    @property
    def directory(self) -> str:
        """Folder of the cache's volume that holds what this upstream gave, and nothing another one did."""
        return names.short_hash(f"{self.scheme}://{self.host}:{self.port or _PORTS[self.scheme]}")


def parse(text: str) -> Upstream:
    """What the registry will be told to ask, with the names people type for Docker Hub put right.

    Raises ValueError with a sentence for a person.
    """
    written = parse_literal(text)
    return Upstream("https", DOCKER_HUB) if is_docker_hub_alias(written) else written


def is_docker_hub_alias(written: Upstream) -> bool:
    """Whether this is a name people type for Docker Hub that is no registry itself."""
    return written.port is None and written.host in DOCKER_HUB_ALIASES


@lru_cache(maxsize=256)  # one judgement asks five times; what is wrong or long is not kept
def parse_literal(text: str) -> Upstream:
    """The upstream exactly as it was typed: `https` where no scheme was, names in lower case, default ports left out.

    Raises ValueError with a sentence for a person.
    """
    if len(text) > _MAX_LENGTH or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError(
            f"must be host[:port] in printable ASCII without spaces, {_MAX_LENGTH} characters at most"
            " (a name in other letters is written in its form that starts with xn--)"
        )
    scheme, rest = _split_scheme(text)
    _refuse_what_is_dropped(rest)
    authority = _AUTHORITY.fullmatch(rest.removesuffix("/"))
    if authority is None:
        raise ValueError("must be host[:port]; an IPv6 address stands in brackets, as in [2001:db8::1]:5000")
    port = None if authority["port"] is None else _port(authority["port"])
    return Upstream(scheme, _host(authority["host"]), None if port == _PORTS[scheme] else port)


def _split_scheme(text: str) -> tuple[str, str]:
    scheme, separator, rest = text.partition("://")
    if not separator:
        _refuse_half_a_scheme(text)
        return "https", text
    if scheme.lower() not in _PORTS:
        raise ValueError("has an unknown scheme: https:// (which may be left out) and http:// are understood")
    return scheme.lower(), rest


def _refuse_half_a_scheme(text: str) -> None:
    if text.startswith("//") or text.lower().startswith(("http:", "https:", "http//", "https//")):
        raise ValueError("has a scheme that is not complete: write https://host[:port], or leave the scheme out")


def _refuse_what_is_dropped(rest: str) -> None:
    if "@" in rest:
        raise ValueError(
            "must not carry user information: put username and password in a Secret and name it in credentialsSecret"
        )
    for mark, what in (("?", "a query"), ("#", "a fragment")):
        if mark in rest:
            raise ValueError(f"must not have {what}: it names a registry, host[:port] and no more")
    if "://" in rest:
        raise ValueError("must have one scheme at most: https://host[:port], or host[:port]")
    if "/" in rest.removesuffix("/"):
        raise ValueError("must not have a path: the registry mirrors the whole host and would drop the path in silence")


def _host(text: str) -> str:
    if text.startswith("["):
        return _ipv6(text[1:-1])
    host = text.lower()
    if not (names.is_dns_name(host) or _is_ipv4(host)):
        raise ValueError(
            "must name a host: an IP address, or a DNS name without underscores and without a dot at its end"
        )
    return host


def _is_ipv4(text: str) -> bool:
    try:
        return str(ipaddress.IPv4Address(text)) == text
    except ipaddress.AddressValueError:
        return False


def _ipv6(text: str) -> str:
    try:
        address = ipaddress.IPv6Address(text)
    except ipaddress.AddressValueError as error:
        raise ValueError("has no IPv6 address in its brackets; one looks like [2001:db8::1]") from error
    if address.scope_id is not None:
        raise ValueError("must not have a zone in its IPv6 address: it means nothing outside one machine")
    return str(address)


def _port(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text, re.ASCII) or not 1 <= int(text) <= 65535:  # noqa: PLR2004 (ports of TCP)
        raise ValueError("must have a port from 1 to 65535 after the colon, or none")
    return int(text)
