"""Fuzzed bytes as something with parts, in a form that a person can write as a seed and libFuzzer can mutate.

One part a line, `path value`: the value is JSON where it can be read as such, and text otherwise.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from common.types import Json


def text_of(data: bytes) -> str:
    """Any bytes as text; what is no UTF-8 becomes halves of surrogate pairs, which JSON can spell and UTF-8 cannot."""
    return data.decode("utf-8", "surrogateescape")


def document(data: bytes) -> Json:
    """An object of the lines' paths and values; a later line replaces what stands in its way."""
    made: Json = {}
    for line in data.split(b"\n"):
        path, _, value = text_of(line).partition(" ")
        node = made
        *parents, last = path.split(".")
        for key in parents:
            child = node.get(key)
            if not isinstance(child, dict):
                child = node[key] = {}
            node = child
        node[last] = _value(value)
    return made


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
