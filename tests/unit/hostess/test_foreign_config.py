"""Test that foreign settings are found in containerd's order of folders and spellings."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from hostess.containerd import foreign_config, hosts_toml
from hostess.containerd.hosts_toml import Upstream

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.hostess.node_files import NodeFiles

HOST, URL = "up.example.com:5000", "https://up.example.com:5000"
SPELLINGS = ["up.example.com_5000_", "up.example.com:5000", "_default"]


def carried(node: NodeFiles) -> Upstream:
    return foreign_config.carry_over((node.containerd, node.docker), HOST, URL)


def of_others(node: NodeFiles) -> Path | None:
    return foreign_config.find_foreign_hosts_toml((node.containerd, node.docker), HOST)


@pytest.mark.parametrize("root", ["containerd", "docker"])
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_cas_and_client_pairs_are_carried_over(node: NodeFiles, root: str, spelling: str) -> None:
    folder = f"etc/{root}/certs.d/{spelling}"
    ca, client, key = (node.put(f"{folder}/{name}") for name in ("ca.crt", "me.cert", "me.key"))
    node.put(f"{folder}/notes.txt")
    node.put(f"{folder}/lonely.cert")
    assert carried(node) == Upstream(URL, (str(ca),), ((str(client), str(key)),))


def test_first_folder_counts_even_if_empty(node: NodeFiles) -> None:
    node.put("etc/docker/certs.d/up.example.com:5000/ca.crt")
    (node.containerd / "_default").mkdir(parents=True)
    assert carried(node) == Upstream(URL)


def test_own_folder_counts_with_foreign_files(node: NodeFiles) -> None:
    below = node.put("etc/docker/certs.d/up.example.com:5000/ca.crt")
    node.agent(UPSTREAM_HOST=HOST).configure(("10.0.0.1",), b"ca", None)
    assert carried(node).ca_files == (str(below),)
    ours = node.put("etc/containerd/certs.d/up.example.com_5000_/ca.crt")
    assert carried(node).ca_files == (str(ours),)


def test_dangling_ca_link_is_carried_over(node: NodeFiles) -> None:
    folder = node.put("etc/docker/certs.d/_default/x.txt").parent
    (folder / "ca.crt").symlink_to("/usr/share/that-only-the-node-has.crt")
    assert carried(node).ca_files == (str(folder / "ca.crt"),)


def test_file_name_without_encoding_is_skipped(node: NodeFiles) -> None:
    folder = node.put("etc/docker/certs.d/_default/ca.crt").parent
    (folder / os.fsdecode(b"caf\xe9.crt")).write_text("")
    assert carried(node).ca_files == (str(folder / "ca.crt"),)


@pytest.mark.parametrize("root", ["containerd", "docker"])
@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("content", ["", "not [ toml", 'server = "https://mine"'])
def test_foreign_hosts_toml_is_found(node: NodeFiles, root: str, spelling: str, content: str) -> None:
    path = node.put(f"etc/{root}/certs.d/{spelling}/hosts.toml", content)
    assert of_others(node) == path


def test_own_hosts_toml_is_not_foreign(node: NodeFiles) -> None:
    node.put(
        "etc/containerd/certs.d/up.example.com_5000_/hosts.toml",
        hosts_toml.render("two", "m.example.com", "/ca", Upstream(URL)),
    )
    assert of_others(node) is None


@pytest.mark.parametrize("own", ["", "ca.crt"])
def test_folder_of_the_host_hides_later_ones(node: NodeFiles, own: str) -> None:
    """Containerd reads the first folder only, also an empty one."""
    node.put("etc/containerd/certs.d/_default/hosts.toml")
    (node.containerd / SPELLINGS[0]).mkdir()
    if own:
        node.put(f"etc/containerd/certs.d/{SPELLINGS[0]}/{own}")
    assert of_others(node) is None


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_dangling_hosts_toml_link_is_foreign(node: NodeFiles, spelling: str) -> None:
    folder = node.put(f"etc/containerd/certs.d/{spelling}/notes.txt").parent
    (folder / "hosts.toml").symlink_to("/opt/that-only-the-node-has.toml")
    assert of_others(node) == folder / "hosts.toml"


def test_dangling_folder_link_is_foreign(node: NodeFiles) -> None:
    node.containerd.mkdir(parents=True, exist_ok=True)
    (node.containerd / "_default").symlink_to("/opt/that-only-the-node-has")
    assert of_others(node) == node.containerd / "_default" / "hosts.toml"
