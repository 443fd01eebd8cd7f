"""Parse quantities like Kubernetes (apimachinery, pkg/api/resource): a decimal number and a suffix.

Accepts strings and JSON integers; a fraction must be a string, as in the int-or-string of the API server.
Stricter than Kubernetes in one case: Kubernetes reads a text without a digit (`Gi`, `+`) as zero.
"""

from __future__ import annotations

import re
from decimal import ROUND_UP, Context, Decimal
from typing import Final

_NUMBER: Final = r"[0-9]+\.?[0-9]*|\.[0-9]+"
_SUFFIX: Final = r"[KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]{1,3}"  # three digits limit the work for hostile input
PATTERN: Final = rf"[+-]?({_NUMBER})({_SUFFIX})?"
_WHOLE: Final = re.compile(rf"(?P<number>[+-]?(?:{_NUMBER}))(?P<suffix>{_SUFFIX})?")
_BINARY: Final = {f"{letter}i": Decimal(1024) ** power for power, letter in enumerate("KMGTPE", start=1)}
_DECIMAL: Final = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}

# Kubernetes caps only binary quantities, at 63 bits. It rounds fractions of a nano away from zero.
LARGEST: Final = Decimal(2**63 - 1)
FINEST: Final = Decimal("1e-9")
LEAST_BYTES: Final = Decimal(2**20)  # no image and no program fits into less
MAX_LENGTH: Final = 128  # characters: limits the work for hostile input
# Digits for the longest text with the largest exponent and nine decimals. The default of 28 would round.
_EXACT: Final = Context(prec=MAX_LENGTH + 1024)


def parse(value: object) -> Decimal:
    """Return the exact amount in the base unit (bytes, cores). Raise ValueError with a message for the user."""
    # The API server does not read a larger number as an integer.
    if isinstance(value, bool) or not isinstance(value, str | int) or (isinstance(value, int) and abs(value) > LARGEST):
        raise ValueError("must be a quantity: a string like 20Gi, 500M or 1.5Ti")
    text = str(value)
    match = _WHOLE.fullmatch(text) if len(text) <= MAX_LENGTH else None
    if match is None:
        raise ValueError("is not a quantity: use a number and a suffix (Ki Mi Gi Ti Pi Ei or k M G T P E), as in 20Gi")
    return _amount(Decimal(match["number"]), match["suffix"] or "")


def refuse_few_bytes(value: object, example: str) -> None:
    """Raise ValueError with the fix for an amount below LEAST_BYTES. Zero passes, because it may mean no limit."""
    amount = parse(value)
    if 0 < amount < LEAST_BYTES:
        suggested = re.sub(r"[^0-9.].*", "", str(value).lstrip("+")) + example[-len("Gi") :]
        fix = suggested if parse(suggested) >= LEAST_BYTES else example
        raise ValueError(f"is {amount.normalize():f} bytes; write {fix}")


def _amount(number: Decimal, suffix: str) -> Decimal:
    if suffix in _BINARY:
        amount = _EXACT.multiply(number, _BINARY[suffix])
        return _rounded(amount if abs(amount) <= LARGEST else LARGEST.copy_sign(amount))
    power = _DECIMAL[suffix] if suffix in _DECIMAL else int(suffix[1:])
    return _rounded(_EXACT.scaleb(number, power))


def _rounded(amount: Decimal) -> Decimal:
    return amount.quantize(FINEST, rounding=ROUND_UP, context=_EXACT)
