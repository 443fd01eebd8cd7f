"""Parse label selectors in the syntax of Kubernetes: `a=b,c!=d,e in (f,g),h notin (i),j,!k,l>1,m<2`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from common.types import Json

_COMMA: Final = re.compile(r",(?![^()]*\))")  # outside of parentheses
_TEXT: Final = r"[^\s=!,()<>]"
_REQUIREMENT: Final = re.compile(
    rf"(?P<key>{_TEXT}+)"
    rf"(?:\s*(?P<sign>==?|!=|<|>)\s*(?P<value>{_TEXT}*)|\s+(?P<set>in|notin)\s*\((?P<values>[^()=!<>]+)\))?"
    rf"|!\s*(?P<absent>{_TEXT}+)"
)
_OPERATORS: Final = {"=": "In", "==": "In", "!=": "NotIn", "in": "In", "notin": "NotIn", ">": "Gt", "<": "Lt"}


def parse(text: str) -> list[Json]:
    """Return the requirements of a selector, each with key, operator and values. Raise ValueError."""
    return [_requirement(part.strip()) for part in _COMMA.split(text) if part.strip()]


def _requirement(text: str) -> Json:
    match = _REQUIREMENT.fullmatch(text)
    if match is None:
        raise ValueError(f"expected a selector such as a=b,c!=d,e in (f,g),h,!i; {text} is none")
    if match["absent"]:
        return {"key": match["absent"], "operator": "DoesNotExist"}
    sign = match["sign"] or match["set"]
    if sign is None:
        return {"key": match["key"], "operator": "Exists"}
    values = match["values"].split(",") if match["set"] else [match["value"]]
    return {"key": match["key"], "operator": _OPERATORS[sign], "values": [each.strip() for each in values]}
