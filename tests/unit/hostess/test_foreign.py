"""What a person has set for a host, in each place and spelling, is seen as containerd would see it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from hostess.containerd import foreign_config, hosts_toml
from hostess.containerd.hosts_toml import Upstream
from tests.unit.hostess.a_node import ANode

if TYPE_CHECKING:
    from pathlib import Path

HOST, URL = "up.example.com:5000", "https://up.example.com:5000"
SPELLINGS = ["up.example.com_5000_", "up.example.com:5000", "_default"]


@pytest.fixture
def node(tmp_path: Path) -> ANode:
    return ANode(tmp_path / "node")


def carried(node: ANode) -> Upstream:
    return foreign_config.carried((node.containerd, node.docker), HOST, URL)


def of_others(node: ANode) -> Path | None:
    return foreign_config.hosts_toml_of_others((node.containerd, node.docker), HOST)


@pytest.mark.parametrize("root", ["containerd", "docker"])
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_authorities_and_pairs_are_carried_from_each_place(node: ANode, root: str, spelling: str) -> None:
    folder = f"etc/{root}/certs.d/{spelling}"
    authority, client, key = (node.put(f"{folder}/{name}") for name in ("ca.crt", "me.cert", "me.key"))
    node.put(f"{folder}/notes.txt")
    node.put(f"{folder}/lonely.cert")
    assert carried(node) == Upstream(URL, (str(authority),), ((str(client), str(key)),))


def test_the_first_folder_that_is_there_is_the_only_one_even_if_it_is_empty(node: ANode) -> None:
    node.put("etc/docker/certs.d/up.example.com:5000/ca.crt")
    (node.containerd / "_default").mkdir(parents=True)
    assert carried(node) == Upstream(URL)


def test_a_folder_of_ours_hides_nothing_but_for_what_a_person_puts_into_it(node: ANode) -> None:
    below = node.put("etc/docker/certs.d/up.example.com:5000/ca.crt")
    node.agent(UPSTREAM_HOST=HOST).configure(("10.0.0.1",), b"ca", None)
    assert carried(node).authorities == (str(below),)
    ours = node.put("etc/containerd/certs.d/up.example.com_5000_/ca.crt")
    assert carried(node).authorities == (str(ours),)


def test_a_link_that_leads_out_of_what_the_agent_sees_is_carried(node: ANode) -> None:
    folder = node.put("etc/docker/certs.d/_default/x.txt").parent
    (folder / "ca.crt").symlink_to("/usr/share/that-only-the-node-has.crt")
    assert carried(node).authorities == (str(folder / "ca.crt"),)


def test_a_file_whose_name_is_no_text_is_not_named_as_another(node: ANode) -> None:
    folder = node.put("etc/docker/certs.d/_default/ca.crt").parent
    (folder / os.fsdecode(b"caf\xe9.crt")).write_text("")
    assert carried(node).authorities == (str(folder / "ca.crt"),)


@pytest.mark.parametrize("root", ["containerd", "docker"])
@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("content", ["", "not [ toml", 'server = "https://mine"'])
def test_a_hosts_toml_that_no_agent_wrote_is_found_everywhere(
    node: ANode, root: str, spelling: str, content: str
) -> None:
    path = node.put(f"etc/{root}/certs.d/{spelling}/hosts.toml", content)
    assert of_others(node) == path


def test_one_that_an_agent_wrote_is_no_persons(node: ANode) -> None:
    node.put(
        "etc/containerd/certs.d/up.example.com_5000_/hosts.toml",
        hosts_toml.render("two", "m.example.com", "/ca", Upstream(URL)),
    )
    assert of_others(node) is None


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_link_is_a_persons_also_where_it_leads_out_of_what_the_agent_sees(node: ANode, spelling: str) -> None:
    folder = node.put(f"etc/containerd/certs.d/{spelling}/notes.txt").parent
    (folder / "hosts.toml").symlink_to("/opt/that-only-the-node-has.toml")
    assert of_others(node) == folder / "hosts.toml"


def test_a_folder_that_is_such_a_link_may_hold_one(node: ANode) -> None:
    node.containerd.mkdir(parents=True, exist_ok=True)
    (node.containerd / "_default").symlink_to("/opt/that-only-the-node-has")
    assert of_others(node) == node.containerd / "_default" / "hosts.toml"
