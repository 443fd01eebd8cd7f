"""Check the parser of upstreamUrl."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given

from common import names, upstream
from common.upstream import Upstream
from tests.support import strategies

READ = {
    "quay.io": "https://quay.io",
    "quay.io/": "https://quay.io",
    "QUAY.io": "https://quay.io",
    "https://quay.io": "https://quay.io",
    "HTTPS://Quay.IO/": "https://quay.io",
    "https://quay.io:443": "https://quay.io",
    "quay.io:443": "https://quay.io",
    "quay.io:0443": "https://quay.io",
    "http://quay.io:80": "http://quay.io",
    "http://quay.io:443": "http://quay.io:443",
    "https://quay.io:80/": "https://quay.io:80",
    "registry:5000": "https://registry:5000",
    "localhost:5000": "https://localhost:5000",
    "xn--bcher-kva.example": "https://xn--bcher-kva.example",
    "10.0.0.1:5000": "https://10.0.0.1:5000",
    "http://[2001:DB8::1]:5000": "http://[2001:db8::1]:5000",
    "[2001:0db8:0:0::1]": "https://[2001:db8::1]",
    "[::1]:443": "https://[::1]",
}
HUB = ["docker.io", "hub.docker.io", "hub.docker.com", "index.docker.io", "https://Docker.io/", "http://docker.io:80"]
HUB.append("registry.hub.docker.com")  # an old name, still in image names of public manifests

HOST, PORT, ASCII = "must name a host", "must have a port from 1 to 65535", "printable ASCII without spaces"
USER, PATH, SCHEME = "must not contain user information", "must not have a path", "has an incomplete scheme"
UNKNOWN, BRACKETS = "has an unknown scheme", "in brackets, as in"
REFUSED = {
    **dict.fromkeys(["", "https://", "http:///", "https://:5000", ":5000", "quay.io.", "my_registry.io"], HOST),
    **dict.fromkeys(["-a.io", "a..io", "1.2.3", "1.2.3.256", "01.2.3.4", f"{'a' * 64}.io", "1.2.3.4.5"], HOST),
    **dict.fromkeys(["[::1].io", "[]x", "x[::1]", "[::1"], BRACKETS),
    **dict.fromkeys(["quay.io:", "quay.io:0", "quay.io:65536", "quay.io:abc", "quay.io:+1", "quay.io:1e3"], PORT),
    **dict.fromkeys(["quay.io:٣", "bücher.example", "quay.io ", " quay.io", "quay.io\n", "quay.io\x7f"], ASCII),
    **dict.fromkeys(["a" * 600, "quay.io\x00", "quay\tio", "\ud800.io", "quay。io"], ASCII),
    **dict.fromkeys(["bob@quay.io", "https://bob:secret@quay.io", "bob:se/cret@quay.io", "@quay.io"], USER),
    **dict.fromkeys(["quay.io/v2", "quay.io//", "docker.io/library", "quay.io/org/", "quay.io:5000/x"], PATH),
    **dict.fromkeys(["quay.io?a=b", "quay.io/?", "https://quay.io?"], "must not have a query"),
    **dict.fromkeys(["quay.io#a", "quay.io/#"], "must not have a fragment"),
    **dict.fromkeys(["//quay.io", "https:quay.io", "https:/quay.io", "http//quay.io"], SCHEME),
    **dict.fromkeys(["oci://quay.io", "docker://quay.io", "://quay.io", "htps://quay.io"], UNKNOWN),
    **dict.fromkeys(["https://https://quay.io", "http://https://quay.io"], "must have at most one scheme"),
    **dict.fromkeys(["2001:db8::1", "::1", "quay.io:5000:5000", "::1]", "[[::1]]"], BRACKETS),
    **dict.fromkeys(["[]", "[quay.io]", "[10.0.0.1]", "[::g]"], "has no IPv6 address in its brackets"),
    "[fe80::1%25eth0]": "must not have an IPv6 zone",
}


@pytest.mark.parametrize(("text", "url"), READ.items())
def test_spelling_is_normalized(text: str, url: str) -> None:
    assert upstream.parse(text).url == url


@pytest.mark.parametrize("text", HUB)
def test_docker_hub_alias_is_resolved(text: str) -> None:
    asked = upstream.parse(text)
    assert (asked.url, asked.image_host) == ("https://registry-1.docker.io", "docker.io")


@pytest.mark.parametrize("text", ["docker.io:5000", "www.docker.io", "docker.io.example.com"])
def test_other_host_is_not_docker_hub(text: str) -> None:
    assert upstream.parse(text).authority == text


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("quay.io", ["quay.io", "quay.io:443"]),
        ("quay.io:443", ["quay.io", "quay.io:443"]),
        ("http://quay.io:80", ["quay.io", "quay.io:80"]),
        ("http://quay.io:443", ["quay.io:443"]),
        ("https://quay.io:80", ["quay.io:80"]),
        ("registry:5000", ["registry:5000"]),
        ("10.0.0.1", ["10.0.0.1", "10.0.0.1:443"]),
        ("[2001:db8::1]:443", ["[2001:db8::1]", "[2001:db8::1]:443"]),
        ("[2001:db8::1]:5000", ["[2001:db8::1]:5000"]),
        (
            "docker.io",
            [
                *("docker.io", "registry-1.docker.io", "index.docker.io", "registry.hub.docker.com"),
                *("registry-1.docker.io:443", "index.docker.io:443", "registry.hub.docker.com:443"),
            ],
        ),
    ],
)
def test_several_names_mean_one_registry(text: str, hosts: list[str]) -> None:
    """K2: containerd has one folder for each of them."""
    assert list(upstream.parse(text).image_hosts) == hosts


@given(strategies.upstreams())
def test_each_spelling_means_the_same_registry(given_upstream: Upstream) -> None:
    for host in given_upstream.image_hosts:
        assert upstream.parse(f"{given_upstream.scheme}://{host}") == upstream.parse(given_upstream.url)


@pytest.mark.parametrize(("text", "sentence"), REFUSED.items())
def test_invalid_upstream_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        upstream.parse(text)


@given(strategies.upstreams())
def test_url_parses_to_the_same_upstream(given_upstream: Upstream) -> None:
    assert upstream.parse_literal(given_upstream.url) == given_upstream


@given(strategies.upstream_urls())
def test_parsing_is_idempotent(text: str) -> None:
    once = upstream.parse(text)
    assert upstream.parse(once.url) == once


@given(strategies.upstreams(), strategies.upstreams())
def test_upstreams_have_distinct_directories(one: Upstream, other: Upstream) -> None:
    assert (one.directory == other.directory) == (one == other)


@given(strategies.hosts())
def test_directory_depends_on_scheme_and_port(host: str) -> None:
    variants = [
        Upstream("https", host),
        Upstream("http", host),
        Upstream("https", host, 80),
        Upstream("http", host, 443),
    ]
    assert len({variant.directory for variant in variants}) == len(variants)


@given(strategies.texts())
def test_any_text_parses_or_raises_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        host = upstream.parse(text).host
        assert ":" in host or names.is_dns_name(host) or host.count(".") == 3
