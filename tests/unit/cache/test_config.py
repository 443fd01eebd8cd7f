"""The configuration file."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest

from cache.config import ConfigError, Floor, parse

VALID: dict[str, Any] = {
    "listen": "0.0.0.0:5000",
    "statusListen": "[::]:5001",
    "tls": {"certificate": "/tls.crt", "key": "/tls.key"},
    "root": "/store",
    "ttl": "168h",
    "minFree": "10%",
    "upstreams": [{"host": "docker.io", "url": "https://registry-1.docker.io", "credentials": None}],
    "caBundle": None,
    "peers": {"self": "a", "members": {"a": "https://a:5000", "b": "https://b:5000"}, "ca": "/ca.crt"},
}


def test_valid_configuration_is_read() -> None:
    """Times are seconds, and addresses are pairs."""
    config = parse(json.dumps(VALID).encode())
    assert (config.ttl, config.status_listen, config.min_free) == (604800.0, ("::", 5001), Floor(fraction=0.1))
    assert config.peers is not None
    assert (config.peers.own_name, config.peers.server_name) == ("a", None)


@pytest.mark.parametrize("peers", [{}, {"self": None}])
def test_replica_is_named_after_its_host(peers: dict[str, Any]) -> None:
    """All pods share one file; a host that is no member is no mistake."""
    members = {"a": "https://a:5000"}
    config = parse(json.dumps({**VALID, "peers": {"members": members, "serverName": "m.example", **peers}}).encode())
    assert config.peers is not None
    assert (config.peers.own_name, config.peers.server_name) == (socket.gethostname(), "m.example")


def test_all_mistakes_are_reported() -> None:
    """Each line names a key."""
    wrong = {
        **VALID,
        "listen": "x",
        "ttl": "7d",
        "minFree": "-1",
        "maxSize": "0",
        "extra": 1,
        "upstreams": VALID["upstreams"] * 2,
    }
    with pytest.raises(ConfigError) as caught:
        parse(json.dumps(wrong).encode())
    lines = str(caught.value).splitlines()
    assert {line.partition(":")[0] for line in lines} == {"listen", "ttl", "minFree", "maxSize", "upstreams", "extra"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"upstreams": VALID["upstreams"] * 2}, "different hosts"),
        ({"peers": {"self": "z", "members": {}}}, "self must be one of members"),
        ({"upstreams": []}, "upstreams: must be 1 to 21 upstreams"),
    ],
)
def test_parts_must_fit(change: dict[str, Any], message: str) -> None:
    """Rules about several keys are checked, too."""
    with pytest.raises(ConfigError, match=message):
        parse(json.dumps({**VALID, **change}).encode())


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"5", b"\xff"])
def test_other_content_is_refused(content: bytes) -> None:
    """Content that is not a JSON object is a mistake, not a crash."""
    with pytest.raises(ConfigError):
        parse(content)
