"""Parse upstreamUrl into the registry that the cache pulls from.

A path is refused, because the registry API begins at the root of a host. User information is refused, because it would
appear in logs and in status.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from common import names
from common.image_hosts import DEFAULT_PORTS, DOCKER_HUB, DOCKER_HUB_HOSTS, DOCKER_HUB_IMAGES, spellings

# Common names of Docker Hub in upstreamUrl.
DOCKER_HUB_ALIASES: Final = frozenset({"docker.io", "hub.docker.io", "hub.docker.com", *DOCKER_HUB_HOSTS[1:]})

_MAX_LENGTH: Final = 512  # characters: limits the work for hostile input; a DNS name has at most 253
_AUTHORITY: Final = re.compile(r"(?P<host>\[[^\[\]]*\]|[^:\[\]]*)(?::(?P<port>[^:]*))?")


@dataclass(frozen=True, slots=True)
class Upstream:
    """A registry. `port` is None for the default port of the scheme. An IPv6 host has no brackets."""

    scheme: str
    host: str
    port: int | None = None

    @property
    def authority(self) -> str:
        """Return `host[:port]` as in a URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """Return `scheme://host[:port]`, the value of status.upstream."""
        return f"{self.scheme}://{self.authority}"

    @property
    def image_host(self) -> str:
        """Return the host in image names of this registry, `docker.io` for Docker Hub."""
        return DOCKER_HUB_IMAGES if self.authority == DOCKER_HUB else self.authority

    @property
    def image_hosts(self) -> tuple[str, ...]:
        """Return every spelling of `image_host` in image names."""
        return spellings(self.image_host, self.scheme)

    @property
    def port_in_use(self) -> int:
        """Return the port, also if it is the default one."""
        return self.port or DEFAULT_PORTS[self.scheme]

    @property
    def own_names(self) -> frozenset[str]:
        """Return the host names of this registry, without ports."""
        return DOCKER_HUB_ALIASES | {DOCKER_HUB} if self.host == DOCKER_HUB else frozenset({self.host})

    @property
    def directory(self) -> str:
        """Return the folder of the cache's volume for this upstream. No two upstreams share a folder."""
        return names.short_hash(f"{self.scheme}://{self.host}:{self.port_in_use}")


def parse(text: str) -> Upstream:
    """Return the registry of an upstreamUrl. Aliases of Docker Hub become its registry.

    Raise ValueError with a message for the user.
    """
    literal = parse_literal(text)
    return Upstream("https", DOCKER_HUB) if is_docker_hub_alias(literal) else literal


def is_docker_hub_alias(literal: Upstream) -> bool:
    """Return True for a name of Docker Hub that is not a registry itself."""
    return literal.port is None and literal.host in DOCKER_HUB_ALIASES


@lru_cache(maxsize=256)  # one review calls this five times; errors are not cached
def parse_literal(text: str) -> Upstream:
    """Return the upstream without resolving aliases: lower case, `https` by default, no default port.

    Raise ValueError with a message for the user.
    """
    if len(text) > _MAX_LENGTH or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError(
            f"must be host[:port] in printable ASCII without spaces, at most {_MAX_LENGTH} characters;"
            " write an internationalized name in its xn-- form"
        )
    scheme, rest = _split_scheme(text)
    _refuse_other_parts(rest)
    authority = _AUTHORITY.fullmatch(rest.removesuffix("/"))
    if authority is None:
        raise ValueError("must be host[:port]; write an IPv6 address in brackets, as in [2001:db8::1]:5000")
    port = None if authority["port"] is None else _port(authority["port"])
    return Upstream(scheme, _host(authority["host"]), None if port == DEFAULT_PORTS[scheme] else port)


def _split_scheme(text: str) -> tuple[str, str]:
    scheme, separator, rest = text.partition("://")
    if not separator:
        _refuse_half_a_scheme(text)
        return "https", text
    if scheme.lower() not in DEFAULT_PORTS:
        raise ValueError("has an unknown scheme; use https:// or http://, or write host[:port] only")
    return scheme.lower(), rest


def _refuse_half_a_scheme(text: str) -> None:
    if text.startswith("//") or text.lower().startswith(("http:", "https:", "http//", "https//")):
        raise ValueError("has an incomplete scheme; write https://host[:port] or host[:port]")


def _refuse_other_parts(rest: str) -> None:
    if "@" in rest:
        raise ValueError(
            "must not contain user information; put username and password in a Secret and name it in credentialsSecret"
        )
    for mark, part in (("?", "a query"), ("#", "a fragment")):
        if mark in rest:
            raise ValueError(f"must not have {part}; write host[:port] only")
    if "://" in rest:
        raise ValueError("must have at most one scheme; write https://host[:port] or host[:port]")
    if "/" in rest.removesuffix("/"):
        raise ValueError(
            "must not have a path; mirror the whole host, and keep the path in image names, as in quay.io/path/app:1"
        )


def _host(text: str) -> str:
    if text.startswith("["):
        return _ipv6(text[1:-1])
    host = text.lower()
    if not (names.is_dns_name(host) or _is_ipv4(host)):
        raise ValueError("must name a host: an IP address, or a DNS name without underscores and without a final dot")
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
        raise ValueError("has no IPv6 address in its brackets; write it as in [2001:db8::1]") from error
    if address.scope_id is not None:
        raise ValueError(
            "must not have an IPv6 zone, because it is valid on one machine only; remove the part from the % on"
        )
    return str(address)


def _port(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text, re.ASCII) or not 1 <= int(text) <= 65535:  # noqa: PLR2004 (ports of TCP)
        raise ValueError("must have a port from 1 to 65535 after the colon; remove the colon to use the default port")
    return int(text)
