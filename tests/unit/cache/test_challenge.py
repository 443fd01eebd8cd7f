"""WWW-Authenticate headers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.upstream.challenge import challenges


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (
            'Bearer realm="https://a/t",service="s",scope="x:y,z"',
            [("bearer", {"realm": "https://a/t", "service": "s", "scope": "x:y,z"})],
        ),
        (
            'Basic realm="a b", Bearer realm="r", service=s',
            [("basic", {"realm": "a b"}), ("bearer", {"realm": "r", "service": "s"})],
        ),
        ('BEARER REALM = "a\\"b"', [("bearer", {"realm": 'a"b'})]),
        ("Negotiate, Basic realm=x", [("negotiate", {}), ("basic", {"realm": "x"})]),
        ("Basic", [("basic", {})]),
        ("", []),
    ],
)
def test_challenges_of_a_header(header: str, expected: list[tuple[str, dict[str, str]]]) -> None:
    """Each dialect is read."""
    assert [(each.scheme, each.parameters) for each in challenges([header])] == expected


@given(st.text(max_size=200))
def test_any_header_is_read(header: str) -> None:
    """No header hangs or raises."""
    challenges([header])
