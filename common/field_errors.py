"""Describe errors in fields of an object: path, value, reason and fix."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

# metav1.CauseType, each with the words that Kubernetes prints.
REQUIRED: Final = "FieldValueRequired"
INVALID: Final = "FieldValueInvalid"
NOT_SUPPORTED: Final = "FieldValueNotSupported"
FORBIDDEN: Final = "FieldValueForbidden"
DUPLICATE: Final = "FieldValueDuplicate"
_WORDS: Final = {
    REQUIRED: "Required value",
    INVALID: "Invalid value",
    NOT_SUPPORTED: "Unsupported value",
    FORBIDDEN: "Forbidden",
    DUPLICATE: "Duplicate value",
}
_MAX_SHOWN: Final = 80  # characters of a value
_ENTRIES: Final = 5  # entries of a list or an object
_DIGITS: Final = 256  # bits of a number: Python refuses to print 4,300 digits
# Everything before the last @ in any of its encodings, because a password may contain any character.
_USER_INFORMATION: Final = re.compile(r"^(\s*https?://)?.*(?:@|%40|\uff20|\ufe6b)", re.DOTALL | re.IGNORECASE)
_QUERY: Final = re.compile(r"\?.*=.*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class FieldError:
    """One error: `path` in the notation of kubectl, `cause` as in metav1.CauseType, `sentence` with reason and fix."""

    path: str
    cause: str
    sentence: str
    value: Any = None

    @property
    def message(self) -> str:
        """Return the error without its path, in the form of Kubernetes' field errors."""
        shown = f": {show(self.value)}" if self.cause in (INVALID, NOT_SUPPORTED, DUPLICATE) else ""
        return f"{_WORDS[self.cause]}{shown}: {self.sentence}"

    def __str__(self) -> str:
        """Return the whole line. An error of the whole object has no path."""
        return f"{self.path}: {self.message}" if self.path else self.message


def show(value: Any) -> str:
    """Return a value as short printable JSON without secrets.

    Secrets are user information and queries of URLs, and all values of a nested object:
    `credentialsSecret: {username: ..., password: ...}` is a common mistake.
    """
    if isinstance(value, dict):
        return _entries("{%s}", [f"{_scalar(key)}: ..." for key in islice(value, _ENTRIES)], len(value))
    if isinstance(value, list | tuple):
        return _entries("[%s]", [_item(item) for item in islice(value, _ENTRIES)], len(value))
    return _scalar(value)


def without_secrets(text: str) -> str:
    """Return the text without user information and query of a URL: both may contain a password."""
    return _QUERY.sub("?***", _USER_INFORMATION.sub(lambda found: f"{found[1] or ''}***@", text, count=1))


def _entries(brackets: str, shown: list[str], count: int) -> str:
    return _cut(brackets % ", ".join([*shown, "..."] if count > _ENTRIES else shown))


def _item(value: Any) -> str:
    if isinstance(value, dict):
        return "{...}"
    return "[...]" if isinstance(value, list | tuple) else _scalar(value)


def _scalar(value: Any) -> str:
    if isinstance(value, int) and value.bit_length() > _DIGITS:
        return f"a number of {value.bit_length()} bits"
    plain = value if isinstance(value, int | float | None) else without_secrets(str(value))
    text = json.dumps(plain, ensure_ascii=False)
    # Escape control, invisible and surrogate characters.
    return _cut("".join(each if each.isprintable() else json.dumps(each)[1:-1] for each in text))


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."
