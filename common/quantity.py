"""Quantities as Kubernetes reads them (apimachinery, pkg/api/resource): a decimal number and a suffix.

A number in JSON counts as well as a string, except that a fraction must be a string: the API server's
int-or-string takes no float.
"""

from __future__ import annotations

import re
from decimal import ROUND_CEILING, Decimal
from typing import Final

_NUMBER: Final = re.compile(r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))(.*)", re.DOTALL)
_EXPONENT: Final = re.compile(r"[eE]([+-]?[0-9]{1,3})")
_BINARY: Final = {f"{letter}i": Decimal(1024) ** power for power, letter in enumerate("KMGTPE", start=1)}
_DECIMAL: Final = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
SUFFIXES: Final = {**_BINARY, **{suffix: Decimal(10) ** power for suffix, power in _DECIMAL.items()}}

# Kubernetes caps what does not fit into 63 bits, and rounds what is finer than a nano up, away from zero.
LARGEST: Final = Decimal(2**63 - 1)
FINEST: Final = Decimal("1e-9")
# More digits than any quantity that the cap and the rounding leave room for; a bound on the work for hostile input.
LONGEST: Final = 128


def parse(value: object) -> Decimal:
    """Exact amount that a quantity stands for, in its base unit (bytes, cores).

    Raises ValueError with a sentence for a person where Kubernetes would refuse it.
    """
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError("must be a quantity: a string like 20Gi, 500M or 1.5Ti")
    text = str(value)
    match = _NUMBER.fullmatch(text) if len(text) <= LONGEST and text.isascii() else None
    factor = _factor(match[2]) if match else None
    if match is None or factor is None:
        raise ValueError("is no quantity: a number and one of the suffixes Ki Mi Gi Ti Pi Ei, k M G T P E, as in 20Gi")
    return _within_bounds(Decimal(match[1]) * factor)


def _factor(suffix: str) -> Decimal | None:
    exponent = _EXPONENT.fullmatch(suffix)
    return Decimal(10) ** int(exponent[1]) if exponent else SUFFIXES.get(suffix)


def _within_bounds(amount: Decimal) -> Decimal:
    magnitude = abs(amount)
    if magnitude >= LARGEST:
        return LARGEST.copy_sign(amount)
    rounded = magnitude.quantize(FINEST, rounding=ROUND_CEILING)
    return rounded.copy_sign(amount)
