"""What is wrong with an object, told to the person who wrote it: where, what stands there, what was expected."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

# metav1.CauseType, and the words with which Kubernetes prints each: kubectl's users know them.
REQUIRED: Final = "FieldValueRequired"
INVALID: Final = "FieldValueInvalid"
NOT_SUPPORTED: Final = "FieldValueNotSupported"
FORBIDDEN: Final = "FieldValueForbidden"
_WORDS: Final = {
    REQUIRED: "Required value",
    INVALID: "Invalid value",
    NOT_SUPPORTED: "Unsupported value",
    FORBIDDEN: "Forbidden",
}
_MAX_SHOWN: Final = 80  # characters of a value: enough to recognise it, too few to flood a terminal
_ENTRIES: Final = 5  # of a list or an object, for the same reason
_DIGITS: Final = 256  # bits of a number: Python itself refuses to print one of 4,300 digits
# All that stands before the last @, in any of its spellings: a password may hold any other character.
_USER_INFORMATION: Final = re.compile(r"^(\s*https?://)?.*(?:@|%40|\uff20|\ufe6b)", re.DOTALL | re.IGNORECASE)
_QUERY: Final = re.compile(r"\?.*=.*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class FieldError:
    """One mistake. `path` is the field as kubectl users write it, `cause` a metav1.CauseType, `sentence` the rest."""

    path: str
    cause: str
    sentence: str
    value: Any = None

    @property
    def message(self) -> str:
        """All but the path, in the form of Kubernetes' own field errors."""
        shown = f": {show(self.value)}" if self.cause in (INVALID, NOT_SUPPORTED) else ""
        return f"{_WORDS[self.cause]}{shown}: {self.sentence}"

    def __str__(self) -> str:
        """The whole line; a problem of the object as a whole has no path."""
        return f"{self.path}: {self.message}" if self.path else self.message


def show(value: Any) -> str:
    """A value as JSON, cut to a length that fits a terminal, in printable characters, and without what may be secret.

    That is user information and queries of URLs, and all values below an object that stands where none belongs:
    `credentialsSecret: {username: ..., password: ...}` is a mistake people make.
    """
    if isinstance(value, dict):
        return _entries("{%s}", [f"{_scalar(key)}: ..." for key in islice(value, _ENTRIES)], len(value))
    if isinstance(value, list | tuple):
        return _entries("[%s]", [_item(item) for item in islice(value, _ENTRIES)], len(value))
    return _scalar(value)


def without_secrets(text: str) -> str:
    """`text` without user information and without the query of a URL: either may hold a password."""
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
    return _cut("".join(map(_printable, json.dumps(plain, ensure_ascii=False))))


def _printable(character: str) -> str:
    """Escaped where a terminal would act on it or a person not see it, or where UTF-8 has no form for it."""
    return character if character.isprintable() else json.dumps(character)[1:-1]


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."
