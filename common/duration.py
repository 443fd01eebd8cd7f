"""Parse durations like Go's time.ParseDuration. A number without a unit and a negative time are refused."""

from __future__ import annotations

import re
from decimal import Context, Decimal
from typing import Final

_NANOSECONDS: Final = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_NUMBER: Final = r"[0-9]+\.?[0-9]*|\.[0-9]+"
_UNIT: Final = "|".join(_NANOSECONDS)
PATTERN: Final = rf"\+?(({_NUMBER})({_UNIT}))+"
_WHOLE: Final = re.compile(PATTERN)
_PART: Final = re.compile(rf"({_NUMBER})({_UNIT})")
_LARGEST: Final = 2**63 - 1  # nanoseconds, about 292 years: the int64 of Go
MAX_LENGTH: Final = 64  # characters: limits the work for hostile input
_EXACT: Final = Context(prec=MAX_LENGTH + 16)  # digits of the longest number times the largest unit


def parse(text: str) -> int:
    """Return the nanoseconds of a duration like 168h or 1h30m. Raise ValueError with a message for the user."""
    if len(text) > MAX_LENGTH or not _WHOLE.fullmatch(text):
        raise ValueError(
            f"is not a duration: use numbers with the units h, m, s, ms, us or ns, as in 168h or 1h30m{_hint(text)}"
        )
    nanoseconds = sum(int(_EXACT.multiply(Decimal(number), _NANOSECONDS[unit])) for number, unit in _PART.findall(text))
    if nanoseconds > _LARGEST:
        raise ValueError("is longer than 292 years; use 0s for no limit")
    return nanoseconds


def _hint(text: str) -> str:
    days = re.fullmatch(r"([0-9]{1,6})d", text)
    if days:
        return f"; days are not a unit: write {int(days[1]) * 24}h"
    if re.fullmatch(r"[0-9]{1,6}", text):
        return (
            "; the unit is missing: write 0s" if int(text) == 0 else f"; the unit is missing: write {text}h or {text}s"
        )
    return "; use 0s for no limit" if text.startswith("-") else ""
