"""Describe the settings of a program, and render them as a table for docs/configuration.md."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from pydantic import Field
from pydantic_core import PydanticUndefined

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from common.settings import Settings

_HOUR: Final = timedelta(hours=1)
_MINUTE: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Row:
    """One setting. `default` is None if the setting is required, and empty if it has no default."""

    variable: str
    default: str | None
    format: str
    description: str


def setting(variable: str, default: Any, format_: str, description: str, **rules: Any) -> Any:
    """Return a field that is read from an environment variable. A default of `...` makes it required."""
    extra: dict[str, Any] = {"format": format_}
    return Field(default, alias=variable, description=description, json_schema_extra=extra, **rules)


def rows_of(kind: type[Settings]) -> Iterator[Row]:
    """Yield a row for each setting of a class."""
    for field in kind.model_fields.values():
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        default = None if field.default is PydanticUndefined else _text(field.default)
        yield Row(field.alias or "", default, str(extra.get("format", "")), field.description or "")


def table(rows: Iterable[Row]) -> str:
    """Return a Markdown table."""
    lines = ["| variable | default | format | meaning |", "|---|---|---|---|"]
    for row in rows:
        default = "required" if row.default is None else f"`{row.default}`" if row.default else "none"
        lines.append(f"| `{row.variable}` | {default} | {row.format} | {row.description} |")
    return "\n".join(lines) + "\n"


def _text(value: object) -> str:
    """Return a default as a user writes it."""
    if isinstance(value, timedelta):
        whole = not value % _HOUR
        return f"{value // _HOUR}h" if whole else f"{value // _MINUTE}m"
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None or value == () else str(value)
