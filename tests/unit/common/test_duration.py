"""Compare durations with Go's time_test.go. Numbers without a unit and negative times are refused in addition."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import duration
from tests.support import strategies

NS, US, MS, S, M, H = 1, 1_000, 1_000_000, 1_000_000_000, 60_000_000_000, 3_600_000_000_000
LARGEST = 2**63 - 1

PARSED = {
    "5s": 5 * S,
    "1478s": 1478 * S,
    "+5s": 5 * S,
    "5.0s": 5 * S,
    "5.6s": 5600 * MS,
    "5.s": 5 * S,
    ".5s": 500 * MS,
    "1.004s": 1004 * MS,
    "1.0040s": 1004 * MS,
    "100.00100s": 100_001 * MS,
    "10ns": 10,
    "11us": 11 * US,
    "12µs": 12 * US,
    "12μs": 12 * US,
    "13ms": 13 * MS,
    "14s": 14 * S,
    "15m": 15 * M,
    "16h": 16 * H,
    "3h30m": 3 * H + 30 * M,
    "10.5s4m": 4 * M + 10_500 * MS,
    "1h2m3s4ms5us6ns": H + 2 * M + 3 * S + 4 * MS + 5 * US + 6,
    "39h9m14.425s": 39 * H + 9 * M + 14_425 * MS,
    "52763797000ns": 52_763_797_000,
    "0.3333333333333333333h": 20 * M,
    "9007199254740993ns": 2**53 + 1,
    "9223372036854775807ns": LARGEST,
    "9223372036854775.807us": LARGEST,
    "9223372036s854ms775us807ns": LARGEST,
    "0.100000000000000000000h": 6 * M,
    "0.830103483285477580700h": 49 * M + 48 * S + 372_539_827,
    "24h0m0s": 24 * H,
    "0s": 0,
    "0h0m": 0,
    "0.9ns": 0,
    "1.9ns": 1,
}
TOO_LONG = [
    *("3000000h", "9223372036854775808ns", "9223372036854775.808us", "9223372036s854ms775us808ns"),
    "9223372036854ms775us808ns",
    "9" * 62 + "h",
]
INVALID = ["", "s", ".", ".s", "+.s", "+", "1 h", " 1h", "1h\n", "1H", "1d12h", "1w", "one hour", "1h30", "٣h", "1e3s"]
WITHOUT_UNIT = ["0", "3", "+0", "168"]
NEGATIVE = ["-5s", "-0", "-2m3.4s", "-9223372036854775807ns", "-.", "-"]


@pytest.mark.parametrize(("text", "nanoseconds"), PARSED.items())
def test_duration_equals_that_of_go(text: str, nanoseconds: int) -> None:
    """Allow one nanosecond for long texts, because Go computes with floats."""
    assert abs(duration.parse(text) - nanoseconds) <= (len(text) > len("0.123456789h"))


@pytest.mark.parametrize("text", INVALID + WITHOUT_UNIT + NEGATIVE)
def test_invalid_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration: use numbers with the units h, m, s"):
        duration.parse(text)


@pytest.mark.parametrize("text", TOO_LONG)
def test_too_long_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is longer than 292 years"):
        duration.parse(text)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("7d", "days are not a unit: write 168h"),
        ("168", "the unit is missing: write 168h or 168s"),
        ("0", "the unit is missing: write 0s"),
        ("-1h", "use 0s for no limit"),
    ],
)
def test_common_error_gets_a_hint(text: str, hint: str) -> None:
    with pytest.raises(ValueError, match=hint):
        duration.parse(text)


def test_long_text_is_refused() -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        duration.parse("1h" * duration.MAX_LENGTH)


@given(strategies.durations(), strategies.durations())
def test_concatenated_durations_add_up(one: str, other: str) -> None:
    assert duration.parse(one + other.lstrip("+")) == duration.parse(one) + duration.parse(other)


@given(strategies.texts() | st.text("0123456789.+-hmsnuµd", max_size=9))
def test_any_text_parses_or_raises_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert 0 <= duration.parse(text) <= LARGEST
