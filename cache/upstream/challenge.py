"""Parse WWW-Authenticate headers (RFC 9110). Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_NAME: Final = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_PARAMETER: Final = re.compile(rf'\s*({_NAME})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|({_NAME}))\s*', re.DOTALL)
_SCHEME: Final = re.compile(rf"\s*({_NAME})(?:\s+|$|(?=,))")
# Characters of all headers together; more is not a challenge.
_LONGEST: Final = 16_384


@dataclass(frozen=True, slots=True)
class Challenge:
    """One challenge. Scheme and names of parameters are in lower case."""

    scheme: str
    parameters: dict[str, str] = field(default_factory=dict)

    @property
    def realm(self) -> str:
        """Return the URL of the token service of the scheme `bearer`."""
        return self.parameters.get("realm", "")

    @property
    def key(self) -> tuple[str, str, str]:
        """Return realm, service and scope, which a token is valid for."""
        return tuple(self.parameters.get(name, "") for name in ("realm", "service", "scope"))  # type: ignore[return-value]

    def with_scope(self, scope: str) -> Challenge:
        """Return the same challenge for another scope; empty for none."""
        rest = {name: value for name, value in self.parameters.items() if name != "scope"}
        return Challenge(self.scheme, {**rest, "scope": scope} if scope else rest)


def challenges(headers: Iterable[str]) -> list[Challenge]:
    """Return all challenges; one header may have several."""
    return [challenge for header in headers if len(header) <= _LONGEST for challenge in _challenges(header)]


def preferred(offered: Iterable[Challenge]) -> Challenge | None:
    """Return the challenge to answer: Bearer, else Basic; None for other schemes."""
    schemes = {each.scheme: each for each in reversed(list(offered))}
    return schemes.get("bearer") or schemes.get("basic")


def _challenges(header: str) -> Iterator[Challenge]:
    position = 0
    while match := _SCHEME.match(header, position):
        position = match.end()
        parameters: dict[str, str] = {}
        while parameter := _PARAMETER.match(header, position):
            name, quoted, plain = parameter.groups()
            value = plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL)
            parameters.setdefault(name.lower(), value)
            position = parameter.end()
            comma = re.compile(r"[\s,]*").match(header, position)
            position = comma.end() if comma else position
        yield Challenge(match[1].lower(), parameters)
        if position == match.end() and position < len(header):
            separator = header.find(",", position)
            if separator < 0:
                return
            position = separator + 1
