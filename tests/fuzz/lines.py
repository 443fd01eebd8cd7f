"""Parse fuzzed bytes into objects. The format suits both handwritten seeds and mutations by libFuzzer.

A line is `path value`. The value is JSON or else text.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from common.types import Json


def text_of(data: bytes) -> str:
    """Decode bytes. Invalid UTF-8 becomes lone surrogates, which JSON can express and UTF-8 cannot."""
    return data.decode("utf-8", "surrogateescape")


def document(data: bytes) -> Json:
    """Return an object with the values of all lines. A later line replaces earlier ones."""
    result: Json = {}
    for line in data.split(b"\n"):
        path, _, value = text_of(line).partition(" ")
        node = result
        *parents, last = path.split(".")
        for key in parents:
            child = node.get(key)
            if not isinstance(child, dict):
                child = node[key] = {}
            node = child
        node[last] = _value(value)
    return result


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
