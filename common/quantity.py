"""Quantities as Kubernetes reads them (apimachinery, pkg/api/resource): a decimal number and a suffix.

A number in JSON counts as well as a string, except that a fraction must be a string: the API server's
int-or-string takes no float. Stricter than Kubernetes where it reads a text without a digit (`Gi`, `+`) as zero.
"""

from __future__ import annotations

import re
from decimal import ROUND_UP, Context, Decimal
from typing import Final

_NUMBER: Final = r"[0-9]+\.?[0-9]*|\.[0-9]+"
_SUFFIX: Final = r"[KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]{1,3}"  # three digits: a bound on the work for hostile input
PATTERN: Final = rf"[+-]?({_NUMBER})({_SUFFIX})?"
_WHOLE: Final = re.compile(rf"(?P<number>[+-]?(?:{_NUMBER}))(?P<suffix>{_SUFFIX})?")
_BINARY: Final = {f"{letter}i": Decimal(1024) ** power for power, letter in enumerate("KMGTPE", start=1)}
_DECIMAL: Final = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}

# Kubernetes caps binary quantities, and no others, at what fits into 63 bits; what is finer than a nano it rounds
# away from zero.
LARGEST: Final = Decimal(2**63 - 1)
FINEST: Final = Decimal("1e-9")
MAX_LENGTH: Final = 128  # characters: far more than any real one has; another bound on the work
# Digits enough for the longest text with the largest exponent and nine decimals: Python's own 28 would round.
_EXACT: Final = Context(prec=MAX_LENGTH + 1024)


def parse(value: object) -> Decimal:
    """Exact amount that a quantity stands for, in its base unit (bytes, cores).

    Raises ValueError with a sentence for a person where Kubernetes would refuse it.
    """
    if isinstance(value, bool) or not isinstance(value, str | int) or _is_beyond_json(value):
        raise ValueError("must be a quantity: a string like 20Gi, 500M or 1.5Ti")
    text = str(value)
    match = _WHOLE.fullmatch(text) if len(text) <= MAX_LENGTH else None
    if match is None:
        raise ValueError("is no quantity: a number and one of the suffixes Ki Mi Gi Ti Pi Ei, k M G T P E, as in 20Gi")
    return _amount(Decimal(match["number"]), match["suffix"] or "")


def _is_beyond_json(value: str | int) -> bool:
    """Whether this is a number that the API server would not read as an integer."""
    return isinstance(value, int) and abs(value) > LARGEST


def _amount(number: Decimal, suffix: str) -> Decimal:
    if suffix in _BINARY:
        amount = _EXACT.multiply(number, _BINARY[suffix])
        return _rounded(amount if abs(amount) <= LARGEST else LARGEST.copy_sign(amount))
    power = _DECIMAL[suffix] if suffix in _DECIMAL else int(suffix[1:])
    return _rounded(_EXACT.scaleb(number, power))


def _rounded(amount: Decimal) -> Decimal:
    return amount.quantize(FINEST, rounding=ROUND_UP, context=_EXACT)
