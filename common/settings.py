"""Settings from the environment: parsed once, at the edge, into a frozen object, all mistakes told together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from common import names

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Literal

LONGEST_PAUSE: Final = 3600  # seconds; a longer SECONDS_BETWEEN_STREAMS would be a mistyped one


class Settings(BaseModel):
    """What a program takes from its environment. A field's alias is the name of its variable."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class SettingsError(Exception):
    """Wrong settings: one line a mistake, each with variable, value and what was expected."""


S = TypeVar("S", bound=Settings)


def read(kind: type[S], environment: Mapping[str, str]) -> S:
    """Settings of a program from its environment; an empty variable counts as one that is not set.

    Raises SettingsError.
    """
    given = {name: value for name, value in environment.items() if value != ""}
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        raise SettingsError("\n".join(map(_line, error.errors(include_url=False)))) from None


def _line(detail: Any) -> str:
    name = ".".join(map(str, detail["loc"]))
    if detail["type"] == "missing":
        return f"{name}: is required and not set"
    expected = detail["ctx"]["error"] if detail["type"] == "value_error" else detail["msg"]
    return f"{name}={detail['input']!r}: {expected}"


def _names(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _level(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_names)]
Port = Annotated[int, Field(ge=1, le=65535)]
LogLevel = Annotated["Literal['DEBUG', 'INFO', 'WARNING', 'ERROR']", BeforeValidator(_level)]


def dns_label(value: str) -> str:
    """`value`, where it can name a namespace; raises ValueError otherwise."""
    if not names.is_dns_label(value):
        raise ValueError("expected a DNS label: a-z, 0-9 and inner hyphens, at most 63 characters")
    return value


def object_name(value: str) -> str:
    """`value`, where it can name a Secret or a ConfigMap; raises ValueError otherwise."""
    if len(value) > names.DNS_NAME_MAX or not all(map(names.is_dns_label, value.split("."))):
        raise ValueError("expected the name of an object: a-z, 0-9, hyphens and dots, at most 253 characters")
    return value
