"""Print items as a table, JSON, YAML or names. Hints and errors go to stderr."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cli.kubectl import Json

TABLE, WIDE, JSON, YAML, NAME = "table", "wide", "json", "yaml", "name"
FORMATS: Final = (WIDE, JSON, YAML, NAME)
_GAP: Final = "   "
# Texts that YAML reads as the same text without quotes.
_PLAIN: Final = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*(?: [A-Za-z0-9_./-]+)*")
# Characters that YAML does not allow, or reads as line breaks.
_SPECIAL: Final = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]")
_WORDS_OF_YAML: Final = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: its title, and what it shows of an item. A wide one is shown on request only."""

    title: str
    value: Callable[[Json], object]
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Listing:
    """Items to print. `name` returns what `-o name` prints of an item. A single item is printed without a list."""

    columns: Sequence[Column]
    items: list[Json]
    name: Callable[[Json], str]
    single: bool = False
    # Further fields of the JSON or YAML document.
    fields: Json = field(default_factory=dict)


def rendered(listing: Listing, form: str = TABLE) -> str:
    """Return the text of a listing, with a line break at its end; empty if a table has no rows."""
    if form in (JSON, YAML):
        document = listing.items[0] if listing.single and listing.items else {"items": listing.items, **listing.fields}
        return as_json(document) if form == JSON else as_yaml(document)
    if form == NAME:
        return "".join(f"{listing.name(each)}\n" for each in listing.items)
    columns = [each for each in listing.columns if form == WIDE or not each.wide]
    return table([each.title for each in columns], [[each.value(item) for each in columns] for item in listing.items])


def table(titles: Sequence[str], rows: Sequence[Sequence[object]], widths: Sequence[int] = ()) -> str:
    """Return an aligned table; empty without rows. `widths` are the least widths of the columns."""
    if not rows:
        return ""
    lines = [list(titles), *([_cell(each) for each in row] for row in rows)]
    least = [*widths, *[0] * (len(titles) - len(widths))]
    widest = [max(least[column], *(len(line[column]) for line in lines)) for column in range(len(titles))]
    return "".join(_GAP.join(map(str.ljust, line, widest)).rstrip() + "\n" for line in lines)


def _cell(value: object) -> str:
    return " ".join(str(value).split()) if value not in (None, "") else "-"


def as_json(document: Any) -> str:
    """Return a document as JSON."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def as_yaml(document: Any) -> str:
    """Return a JSON document as YAML."""
    return "\n".join(_yaml(document)) + "\n"


def _yaml(value: Any) -> Iterator[str]:
    """Yield the lines of a value. Quoted texts are those of JSON, which YAML contains."""
    if isinstance(value, dict) and value:
        for key, each in value.items():
            yield from _nested(f"{_scalar(str(key))}:", each, "  " if isinstance(each, dict) else "")
    elif isinstance(value, list) and value:
        for each in value:
            first, *rest = _yaml(each)
            yield f"- {first}"
            yield from (f"  {line}" for line in rest)
    else:
        yield _scalar(value)


def _nested(head: str, value: Any, indent: str) -> Iterator[str]:
    if isinstance(value, dict | list) and value:
        yield head
        yield from (f"{indent}{line}" for line in _yaml(value))
    else:
        yield f"{head} {_scalar(value)}"


def _scalar(value: Any) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS_OF_YAML:
        return value
    return _SPECIAL.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, ensure_ascii=False))


def bytes_text(count: float) -> str:
    """Return a number of bytes with a binary unit."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:  # noqa: PLR2004 (of a binary unit)
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
