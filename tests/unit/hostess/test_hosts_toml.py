"""Test that containerd reads hosts.toml as intended."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostess.containerd.hosts_toml import Upstream, owner, render, render_hidden

CA = "/etc/containerd/certs.d/docker.io/registry-mirror.crt"
TEXT = st.text(st.characters(codec="utf-8"), max_size=30)


def test_mirror_comes_before_upstream() -> None:
    read = tomllib.loads(render("docker", "local.docker.io", CA, Upstream("https://registry-1.docker.io")))
    assert read == {
        "server": "https://registry-1.docker.io",
        "host": {
            "https://local.docker.io": {
                "capabilities": ["pull", "resolve"],
                "ca": CA,
                "dial_timeout": "1s",
            }
        },
    }


def test_file_without_a_host_has_an_empty_table() -> None:
    """K10: containerd 1.6 logs `invalid host tree` and ignores a file without the table."""
    text = render_hidden("docker", "registry-1.docker.io", CA, Upstream("https://registry-1.docker.io", ("/a.crt",)))
    assert tomllib.loads(text) == {"server": "https://registry-1.docker.io", "ca": [CA, "/a.crt"], "host": {}}


@given(TEXT, TEXT, st.lists(TEXT, max_size=3), st.lists(st.tuples(TEXT, TEXT), max_size=2))
def test_any_text_is_quoted(url: str, ca: str, roots: list[str], pairs: list[tuple[str, str]]) -> None:
    read = tomllib.loads(render("docker", "local.docker.io", ca, Upstream(url, tuple(roots), tuple(pairs))))
    assert read["server"] == url
    assert read.get("ca", []) == roots
    assert read.get("client", []) == [list(pair) for pair in pairs]
    assert read["host"]["https://local.docker.io"]["ca"] == ca


def test_owner_of_own_and_foreign_files() -> None:
    assert owner(render("docker", "local.docker.io", CA, Upstream("https://x")).encode()) == "docker"
    for foreign in (
        b"",
        b'server = "https://x"\n',
        b"# Written by me\n",
        b"\xff\xfe",
        b"# Written by the node agent of",
    ):
        assert owner(foreign) is None


@pytest.mark.parametrize("name", ["", "a b", 'a"]\nserver="x', "127.0.0.1"])
def test_invalid_mirror_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no DNS name"):
        render("docker", name, CA, Upstream("https://x"))
