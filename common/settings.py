"""Parse settings from the environment into a frozen object and report all errors together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema

from common import field_errors, names

if TYPE_CHECKING:
    from collections.abc import Mapping

_LABEL: Final = r"[A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?"
MAX_WAIT: Final = 3600  # seconds; a longer time is probably a typing error


class Settings(BaseModel):
    """Base of a program's settings. The alias of a field is the name of its variable."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True, hide_input_in_errors=True)


class SettingsError(Exception):
    """Wrong settings, one line per error: variable, value and expected value."""


S = TypeVar("S", bound=Settings)


def read(kind: type[S], environment: Mapping[str, str]) -> S:
    """Parse the settings of a program. An empty variable counts as unset. Raise SettingsError."""
    given = {name: value for name, value in environment.items() if value.strip() != ""}
    try:
        # By alias only: a variable such as http_proxy would match the name of a field.
        return kind.model_validate(given, by_alias=True, by_name=False)
    except ValidationError as error:
        raise SettingsError("\n".join(_line(detail, given) for detail in error.errors())) from None


def _line(detail: Any, given: Mapping[str, str]) -> str:
    expected = detail["ctx"]["error"] if detail["type"] == "value_error" else detail["msg"]
    if not detail["loc"]:  # a rule about several variables names them itself
        return str(expected)
    name = detail["loc"][0]
    if detail["type"] == "missing":
        return f"{name}: is not set; it is required"
    return f"{name}={field_errors.show(given[name])}: {expected}"


def _names(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _domains(value: tuple[str, ...]) -> tuple[str, ...]:
    domains = tuple(domain.lower().removeprefix("*").strip(".") for domain in value)
    if not all(map(names.is_dns_name, domains)):
        raise ValueError("expected DNS names separated by commas")
    return domains


def _level(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_names)]
# A domain includes all names below it, so a leading "." or "*." has no effect.
Domains = Annotated[
    Names,
    AfterValidator(_domains),
    # Helm checks the chart's values with this schema. It refuses no less than the validator.
    WithJsonSchema(
        {
            "type": "array",
            "items": {
                "type": "string",
                "maxLength": names.DNS_NAME_MAX,
                "pattern": rf"^\*?\.?{_LABEL}(\.{_LABEL})*$",
                "not": {"pattern": r"(^|\.)([0-9]+|0[xX][0-9a-fA-F]*)$"},
            },
        }
    ),
]
Port = Annotated[int, Field(ge=1, le=65535)]
LogLevel = Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(_level)]


def dns_label(value: str) -> str:
    """Return `value` if it can name a namespace. Raise ValueError."""
    if not names.is_dns_label(value):
        raise ValueError("expected a DNS label: a-z, 0-9 and inner hyphens, at most 63 characters")
    return value


def object_name(value: str) -> str:
    """Return `value` if it can name a Secret or a ConfigMap. Raise ValueError."""
    if not names.is_object_name(value):
        raise ValueError("expected the name of an object: a-z, 0-9, hyphens and dots, at most 253 characters")
    return value
