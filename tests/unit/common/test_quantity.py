"""Compare quantities with quantity_test.go of apimachinery, and check the limits."""

from __future__ import annotations

import contextlib
import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import quantity
from tests.support import strategies

LARGEST = 2**63 - 1

# From TestQuantityParse of apimachinery.
PARSED = dict(
    re.findall(
        r"(\S+)=(\S+)",
        """
    0=0 0n=0 0u=0 0m=0 0Ki=0 0k=0 0Mi=0 0M=0 0Gi=0 0G=0 0Ti=0 0T=0 1=1 1Ki=1024 8Ki=8192 7Mi=7340032 6Gi=6442450944
    5Ti=5497558138880 4Pi=4503599627370496 3Ei=3458764513820540928 10Ti=10995116277760 100Ti=109951162777600
    5n=0.000000005 4u=0.000004 3m=0.003 9=9 8k=8000 50k=50000 7M=7000000 6G=6000000000 5T=5000000000000
    40T=40000000000000 300T=300000000000000 2P=2000000000000000 1E=1000000000000000000 1E-3=0.001 1e3=1000
    1E6=1000000 1e14=100000000000000 1E18=1000000000000000000 100.035k=100035 0.001=0.001 0.0005k=0.5 0.00050k=0.5
    0.00500=0.005 0.5e0=0.5 0.5e-1=0.05 0.5e-2=0.005 10.035M=10035000 1.2e3=1200 1.3E+6=1300000
    1.53E12=1530000000000 1.7E18=1700000000000000000 9.01=9.01 7.123456M=7123456 6.987654321G=6987654321
    300.2T=300200000000000 1.01E=1010000000000000000 100.035Ki=102435.84 0.5Mi=524288 0.05Gi=53687091.2
    0.025Ti=27487790694.4 .001=0.001 .0001k=0.1 1.=1 1.G=1000000000
        """,
    )
)
# Fractions of a nano are rounded away from zero.
ROUNDED = {
    "3.001n": "4e-9",
    "1.1E-9": "2e-9",
    "0.0000000001": "1e-9",
    "0.0000000005": "1e-9",
    "0.00000000050": "1e-9",
    "0.5e-9": "1e-9",
    "0.9n": "1e-9",
    "0.00000012345": "124e-9",
    "0.00000012354": "124e-9",
    "0.000000000001Ki": "2e-9",
    # More digits than the default of Python's decimals.
    "1.00000000000000000000000000000000001": "1.000000001",
    "1e-999": "1e-9",
}
# Binary quantities are capped, decimal ones are not.
LARGE = {
    "8Ei": LARGEST,
    "9Ei": LARGEST,
    "9223372036854775807Ki": LARGEST,
    "7.99999999999999999999Ei": LARGEST,
    "9223372036854775807": LARGEST,
    "12E": 12 * 10**18,
    "18446744073709551616": 2**64,
    "1000E": 10**21,
}
INVALID = [
    *("1.1.M", "1+1.0M", "0.1mi", "0.1am", "aoeu", ".5i", "1i", "-3.01i", "-3.01e-", " 1", "1 ", ""),
    *("20 Gi", "20GB", "20gi", "20GiB", "20K", "1e", "0x10", "1_000", "1,5Gi", "٣Gi", "NaN", "inf", "1\n", "--1"),
    *("Gi", "+", ".", "-.Ki"),  # Kubernetes reads these as zero
]


@pytest.mark.parametrize(("text", "amount"), [*PARSED.items(), *ROUNDED.items(), *LARGE.items()])
@pytest.mark.parametrize(("sign", "factor"), [("", 1), ("+", 1), ("-", -1)])
def test_quantity_equals_that_of_kubernetes(text: str, amount: str, sign: str, factor: int) -> None:
    assert quantity.parse(sign + text) == Decimal(amount) * factor


@pytest.mark.parametrize("text", INVALID)
def test_invalid_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a quantity"):
        quantity.parse(text)


@pytest.mark.parametrize(
    "value", [True, None, 1.5, 20.0, float("nan"), [], {"a": 1}, 2**63, pytest.param(-(10**5000), id="long")]
)
def test_other_json_type_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="must be a quantity"):
        quantity.parse(value)


def test_integer_equals_its_text() -> None:
    assert quantity.parse(21474836480) == quantity.parse("20Gi")


def test_long_text_is_refused() -> None:
    with pytest.raises(ValueError, match="is not a quantity"):
        quantity.parse("1" * (quantity.MAX_LENGTH + 1))


@given(strategies.quantities())
def test_sign_negates_amount(text: str) -> None:
    unsigned = text.lstrip("+-")
    assert quantity.parse(f"-{unsigned}") == -quantity.parse(f"+{unsigned}")


@given(st.integers(1, 2**20), st.sampled_from([("Ki", "Mi"), ("Mi", "Gi"), ("Gi", "Ti")]))
def test_units_are_consistent(count: int, units: tuple[str, str]) -> None:
    small, large = units
    assert quantity.parse(f"{count * 1024}{small}") == quantity.parse(f"{count}{large}")


@given(st.one_of(strategies.texts(), strategies.json_values()))
def test_any_value_parses_or_raises_value_error(value: object) -> None:
    with contextlib.suppress(ValueError):
        assert quantity.parse(value).is_finite()
