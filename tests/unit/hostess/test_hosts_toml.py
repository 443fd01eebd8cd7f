"""hosts.toml as containerd reads it."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostess.containerd.hosts_toml import Upstream, owner, render

AUTHORITY = "/etc/containerd/certs.d/docker.io/registry-mirror.crt"
TEXT = st.text(st.characters(codec="utf-8"), max_size=30)


def test_the_mirror_is_asked_first_and_the_upstream_is_the_server() -> None:
    read = tomllib.loads(render("docker", "local.docker.io", AUTHORITY, Upstream("https://registry-1.docker.io")))
    assert read == {
        "server": "https://registry-1.docker.io",
        "host": {
            "https://local.docker.io": {
                "capabilities": ["pull", "resolve"],
                "ca": AUTHORITY,
                "dial_timeout": "1s",
            }
        },
    }


@given(TEXT, TEXT, st.lists(TEXT, max_size=3), st.lists(st.tuples(TEXT, TEXT), max_size=2))
def test_no_text_breaks_out_of_its_place(
    url: str, authority: str, roots: list[str], pairs: list[tuple[str, str]]
) -> None:
    read = tomllib.loads(render("docker", "local.docker.io", authority, Upstream(url, tuple(roots), tuple(pairs))))
    assert read["server"] == url
    assert read.get("ca", []) == roots
    assert read.get("client", []) == [list(pair) for pair in pairs]
    assert read["host"]["https://local.docker.io"]["ca"] == authority


def test_it_says_whose_it_is_and_a_persons_own_is_nobodys() -> None:
    assert owner(render("docker", "local.docker.io", AUTHORITY, Upstream("https://x")).encode()) == "docker"
    for foreign in (
        b"",
        b'server = "https://x"\n',
        b"# Written by me\n",
        b"\xff\xfe",
        b"# Written by the node agent of",
    ):
        assert owner(foreign) is None


@pytest.mark.parametrize("name", ["", "a b", 'a"]\nserver="x', "127.0.0.1"])
def test_nothing_but_a_name_stands_for_the_mirror(name: str) -> None:
    with pytest.raises(ValueError, match="no DNS name"):
        render("docker", name, AUTHORITY, Upstream("https://x"))
