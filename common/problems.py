"""What is wrong with an object, told to the person who wrote it: where, what stands there, what was expected."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
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
_SHOWN: Final = 80  # characters of a value: enough to recognise it, too few to flood a terminal
_USER_INFORMATION: Final = re.compile(r"(?:(?<=://)|(?<=^\")|(?<=^))[^\s/?#\"]*@")


@dataclass(frozen=True, slots=True)
class Problem:
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
        """The whole line."""
        return f"{self.path}: {self.message}"


def show(value: Any) -> str:
    """A value as JSON, cut to a length that fits a terminal, and without user information, which may be a password."""
    text = _USER_INFORMATION.sub("***@", json.dumps(value, ensure_ascii=False, default=str))
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
