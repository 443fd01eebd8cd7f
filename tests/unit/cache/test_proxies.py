"""Choose the proxy of a request from the environment."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.upstream.proxies import Proxies, proxies_in


@pytest.mark.parametrize(
    ("url", "no_proxy", "expected"),
    [
        ("https://quay.io/v2/", "", "http://secure:1"),
        ("http://quay.io/v2/", "", "http://plain:2"),
        ("https://quay.io/v2/", "example.com, quay.io", None),
        ("https://cdn.quay.io/v2/", "quay.io", None),
        ("https://quay.io/v2/", ".quay.io", "http://secure:1"),
        ("https://cdn.quay.io/v2/", "*.quay.io", None),
        ("https://notquay.io/v2/", "quay.io", "http://secure:1"),
        ("https://quay.io:5000/v2/", "quay.io:5000", None),
        ("https://quay.io/v2/", "quay.io:5000", "http://secure:1"),
        ("https://quay.io/v2/", "quay.io:443", None),
        ("https://10.1.2.3/v2/", "10.0.0.0/8", None),
        ("https://11.1.2.3/v2/", "10.0.0.0/8,rubbish/99", "http://secure:1"),
        ("https://10.1.2.3:5000/v2/", "10.1.2.3", None),
        ("https://[2001:db8::1]:5000/v2/", "2001:db8::/32", None),
        ("https://[2001:db8::1]/v2/", "[2001:db8::1]:443", None),
        ("https://quay.io/v2/", "*", None),
        ("https://localhost:5000/v2/", "", None),
        ("https://127.0.0.1/v2/", "", None),
    ],
)
def test_proxy_rules_equal_registry(url: str, no_proxy: str, expected: str | None) -> None:
    environment = {"HTTPS_PROXY": "secure:1", "http_proxy": "http://plain:2", "NO_PROXY": no_proxy}
    assert proxies_in(environment).of(url) == expected


@given(st.text(max_size=50))
def test_any_no_proxy_can_be_parsed(no_proxy: str) -> None:
    assert Proxies("secure:1", exceptions=no_proxy).of("https://quay.io/v2/") in (None, "http://secure:1")
