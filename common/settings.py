"""Settings from the environment: parsed once, at the edge, into a frozen object, all mistakes told together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from common import field_errors, names

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_WAIT: Final = 3600  # seconds; a longer SECONDS_BETWEEN_STREAMS would be a mistyped one


class Settings(BaseModel):
    """What a program takes from its environment. A field's alias is the name of its variable."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True, hide_input_in_errors=True)


class SettingsError(Exception):
    """Wrong settings: one line a mistake, each with variable, value and what was expected."""


S = TypeVar("S", bound=Settings)


def read(kind: type[S], environment: Mapping[str, str]) -> S:
    """Settings of a program from its environment; an empty variable counts as one that is not set.

    Raises SettingsError.
    """
    given = {name: value for name, value in environment.items() if value.strip() != ""}
    try:
        # By alias alone: the names of fields are lower-case, as http_proxy and other variables of an environment are.
        return kind.model_validate(given, by_alias=True, by_name=False)
    except ValidationError as error:
        raise SettingsError("\n".join(_line(detail, given) for detail in error.errors())) from None


def _line(detail: Any, given: Mapping[str, str]) -> str:
    expected = detail["ctx"]["error"] if detail["type"] == "value_error" else detail["msg"]
    if not detail["loc"]:  # a rule about several variables names them itself; its input is the whole environment
        return str(expected)
    name = detail["loc"][0]
    if detail["type"] == "missing":
        return f"{name}: is required and not set"
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
# A leading "." or "*." and capitals mean nothing here: a domain always stands for all names below it.
Domains = Annotated[Names, AfterValidator(_domains)]
Port = Annotated[int, Field(ge=1, le=65535)]
LogLevel = Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(_level)]


def dns_label(value: str) -> str:
    """`value`, where it can name a namespace; raises ValueError otherwise."""
    if not names.is_dns_label(value):
        raise ValueError("expected a DNS label: a-z, 0-9 and inner hyphens, at most 63 characters")
    return value


def object_name(value: str) -> str:
    """`value`, where it can name a Secret or a ConfigMap; raises ValueError otherwise."""
    if not names.is_object_name(value):
        raise ValueError("expected the name of an object: a-z, 0-9, hyphens and dots, at most 253 characters")
    return value
