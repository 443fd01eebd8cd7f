"""Durations as Go's time.ParseDuration reads them, which is how the registry reads its ttl.

Stricter in two places, because the registry is lax there at its user's cost: a number without a unit means
nanoseconds to it, and a negative time means for ever.
"""

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
_LARGEST: Final = 2**63 - 1  # nanoseconds, some 292 years: Go's int64
MAX_LENGTH: Final = 64  # characters: far more than any real one has; a bound on the work for hostile input
_EXACT: Final = Context(prec=MAX_LENGTH + 16)  # the digits of the longest number and of the largest unit


def parse(text: str) -> int:
    """Nanoseconds that a duration like 168h or 1h30m stands for: 0 where the registry would count none.

    Raises ValueError with a sentence for a person; days are named in it, as people try them first.
    """
    if len(text) > MAX_LENGTH or not _WHOLE.fullmatch(text):
        raise ValueError(
            f"is no duration: numbers with the units h, m, s, ms, us or ns, as in 168h or 1h30m{_hint(text)}"
        )
    nanoseconds = sum(int(_EXACT.multiply(Decimal(number), _NANOSECONDS[unit])) for number, unit in _PART.findall(text))
    if nanoseconds > _LARGEST:
        raise ValueError("is longer than the registry can count (some 292 years); 0s keeps for ever")
    return nanoseconds


def _hint(text: str) -> str:
    days = re.fullmatch(r"([0-9]{1,6})d", text)
    if days:
        return f"; there is no unit for days: write {int(days[1]) * 24}h"
    if re.fullmatch(r"[0-9]{1,6}", text):
        return "; a unit is needed: 0s" if int(text) == 0 else f"; a unit is needed: {text}h, or {text}s"
    return "; 0s keeps for ever" if text.startswith("-") else ""
