"""Read the configuration file: JSON, parsed into frozen objects, with all mistakes reported together."""

from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING, Annotated, Any, Final

import orjson
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from common import duration, quantity, upstream
from common.image_hosts import spellings

if TYPE_CHECKING:
    from pathlib import Path

_ADDRESS: Final = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[^:\[\]/]*):(?P<port>[0-9]{1,5})")
_PERCENT: Final = re.compile(r"([0-9]{1,2}(?:\.[0-9]+)?)%")
_REASONS: Final = {"missing": "is required", "extra_forbidden": "is unknown; remove it"}
_NANOSECONDS: Final = 1_000_000_000
_IMAGE_HOST: Final = re.compile(r"[a-z0-9.-]+(:[0-9]{1,5})?|\[[0-9a-f:.]+\](:[0-9]{1,5})?")
_HOST_MAX: Final = 255  # characters
_PORT_MAX: Final = 65535
_UPSTREAMS_MAX: Final = 21  # bounds memory and probes


class ConfigError(Exception):
    """A wrong configuration: one line per mistake, each with path and reason."""


class Floor(BaseModel):
    """Space that stays free on the volume: a fraction of its size, or a number of bytes."""

    model_config = ConfigDict(frozen=True)

    fraction: float = 0.0
    size: int = 0

    def of(self, total: int) -> int:
        """Return the bytes to keep free on a volume of `total` bytes."""
        return max(self.size, int(self.fraction * total))


def _address(value: object) -> tuple[str, int]:
    match = _ADDRESS.fullmatch(value) if isinstance(value, str) else None
    if match is None or not 1 <= int(match["port"]) <= _PORT_MAX:
        raise ValueError("must be HOST:PORT, for example 0.0.0.0:5000")
    return match["host"].strip("[]"), int(match["port"])


def _seconds(value: object) -> float:
    if not isinstance(value, str):
        raise ValueError("must be a duration such as 168h")
    return duration.parse(value) / _NANOSECONDS


def _floor(value: object) -> Floor:
    percent = _PERCENT.fullmatch(value) if isinstance(value, str) else None
    if percent:
        return Floor(fraction=float(percent[1]) / 100)
    amount = quantity.parse(value)
    if amount < 0:
        raise ValueError("must not be negative")
    return Floor(size=int(amount))


def _size(value: object) -> int | None:
    if value is None:
        return None
    amount = quantity.parse(value)
    if amount <= 0:
        raise ValueError("must be positive, or null for no limit")
    return int(amount)


def _upstreams(value: tuple[UpstreamConfig, ...]) -> tuple[UpstreamConfig, ...]:
    if not 1 <= len(value) <= _UPSTREAMS_MAX:
        raise ValueError(f"must be 1 to {_UPSTREAMS_MAX} upstreams")
    if len({each.host for each in value}) != len(value):
        raise ValueError("must have different hosts")
    return value


def _image_host(value: str) -> str:
    if len(value) > _HOST_MAX or not _IMAGE_HOST.fullmatch(value):
        raise ValueError("must be host[:port] in lower case, as in image names")
    return value


def _registry(value: str) -> str:
    return upstream.parse_literal(value).url


# Host and port to listen on.
Address = Annotated[tuple[str, int], BeforeValidator(_address)]


class Part(BaseModel):
    """Common rules of all parts: immutable, camelCase, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, hide_input_in_errors=True)


class TlsFiles(Part):
    """PEM files of the serving certificate."""

    certificate: str
    key: str


class CredentialFiles(Part):
    """Files of an account. Both are absent while there is none."""

    username: str
    password: str


class UpstreamConfig(Part):
    """One upstream. `host` is what image names start with."""

    host: Annotated[str, AfterValidator(_image_host)]
    url: Annotated[str, AfterValidator(_registry)]
    credentials: CredentialFiles | None = None

    @property
    def image_hosts(self) -> tuple[str, ...]:
        """Return every spelling of `host` that runtimes send as `ns`."""
        return spellings(self.host, upstream.parse_literal(self.url).scheme)

    @property
    def directory(self) -> str:
        """Return the directory of the store that holds the content of this upstream only."""
        return upstream.parse_literal(self.url).directory


class PeersConfig(Part):
    """The replicas of this cache.

    Without `self`, the name of this replica is the host name, so that all pods share one file. A host name that is no
    member belongs to a pod that is added or removed: it asks the members and owns nothing. `ca` is the PEM file that
    the certificates of replicas are verified with, for `server_name` if it is given.
    """

    given_name: str | None = Field(default=None, alias="self")
    members: dict[str, Annotated[str, AfterValidator(_registry)]]
    ca: str | None = None
    server_name: str | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _is_member(self) -> PeersConfig:
        if self.given_name is not None and self.given_name not in self.members:
            raise ValueError("self must be one of members")
        return self

    @property
    def own_name(self) -> str:
        """Return the name of this replica."""
        return socket.gethostname() if self.given_name is None else self.given_name


class CacheConfig(Part):
    """The whole configuration. Times are in seconds."""

    listen: Address
    status_listen: Address
    tls: TlsFiles | None
    root: str = Field(min_length=1)
    ttl: Annotated[float, BeforeValidator(_seconds)]
    min_free: Annotated[Floor, BeforeValidator(_floor)] = Floor(fraction=0.1)
    max_size: Annotated[int | None, BeforeValidator(_size)] = None
    upstreams: Annotated[tuple[UpstreamConfig, ...], AfterValidator(_upstreams)]
    ca_bundle: str | None = None
    peers: PeersConfig | None = None
    count_repositories: bool = False

    def needs_restart(self, other: CacheConfig) -> bool:
        """Return True if the other configuration cannot be applied to a running program."""
        return (self.listen, self.status_listen, self.root, self.tls is None) != (
            other.listen,
            other.status_listen,
            other.root,
            other.tls is None,
        )


def load(path: Path) -> CacheConfig:
    """Read the file. Raises ConfigError with all mistakes."""
    try:
        return parse(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error


def parse(content: bytes) -> CacheConfig:
    """Parse the content of a configuration file. Raises ConfigError with all mistakes."""
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise ConfigError(f"configuration: is not JSON: {error}") from None
    try:
        return CacheConfig.model_validate(document)
    except ValidationError as error:
        raise ConfigError("\n".join(map(_line, error.errors()))) from None


def _line(detail: Any) -> str:
    reason = detail["ctx"]["error"] if detail["type"] == "value_error" else _REASONS.get(detail["type"], detail["msg"])
    return f"{'.'.join(map(str, detail['loc'])) or 'configuration'}: {reason}"
