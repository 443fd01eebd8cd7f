"""The node's files: what a mirror needs is there, in order; what others made stays; what is over is gone."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

import pytest

from hostess.hostsfile.hosts_block import parse
from hostess.node_state import NodeConfigError
from tests.unit.hostess.a_node import AUTHORITY, LOCALHOST, ANode

if TYPE_CHECKING:
    from pathlib import Path

IP = ("10.96.0.7",)


@pytest.fixture
def node(tmp_path: Path) -> ANode:
    return ANode(tmp_path / "node")


def test_a_configured_node_has_entry_authority_and_hosts_toml_and_a_cleaned_one_is_as_before(node: ANode) -> None:
    before = node.tree()
    agent = node.agent()
    agent.configure(IP, AUTHORITY, None)
    assert parse(node.hosts.read_bytes()).blocks == {"one": b"10.96.0.7\tmirror-one.example.com\n"}
    toml = tomllib.loads((node.containerd / "one.example.com/hosts.toml").read_text())
    host = toml["host"]["https://mirror-one.example.com"]
    assert toml["server"] == "https://one.example.com"
    for root in (node.containerd, node.docker):
        authority = root / "mirror-one.example.com/registry-mirror-one.crt"
        assert authority.read_bytes() == AUTHORITY
    assert host["ca"] == str(node.containerd / "mirror-one.example.com/registry-mirror-one.crt")
    assert agent.addresses() == IP
    agent.clean()
    assert node.tree() == before


def test_configuring_again_writes_nothing(node: ANode) -> None:
    agent = node.agent()
    agent.configure(IP, AUTHORITY, None)
    written = {path: path.stat().st_mtime_ns for path in node.root.rglob("*") if path.name != "lock"}
    agent.configure(IP, AUTHORITY, None)
    assert {path: path.stat().st_mtime_ns for path in written} == written


def test_withdrawn_only_the_upstream_is_set_free_and_two_mirrors_do_not_touch_each_other(node: ANode) -> None:
    one, two = node.agent("one"), node.agent("two")
    for agent in (one, two):
        agent.configure(IP, AUTHORITY, None)
    one.withdraw()
    assert not (node.containerd / "one.example.com").exists()
    assert (node.containerd / "mirror-one.example.com").is_dir()
    assert list(node.ours()) == [node.containerd / "two.example.com/hosts.toml"]
    one.clean()
    assert list(parse(node.hosts.read_bytes()).blocks) == ["two"]
    assert (node.root / "backup/hosts").exists()
    two.clean()
    assert node.hosts.read_bytes() == LOCALHOST


@pytest.mark.parametrize("folder", ["one.example.com", "_default"])
@pytest.mark.parametrize("root", ["containerd", "docker"])
def test_a_persons_hosts_toml_is_respected_and_named(node: ANode, root: str, folder: str) -> None:
    path = node.put(f"etc/{root}/certs.d/{folder}/hosts.toml", 'server = "https://mine"\n')
    before = node.tree()
    with pytest.raises(NodeConfigError, match=str(path)) as hindrance:
        node.agent().configure(IP, AUTHORITY, None)
    assert hindrance.value.reason == "ExistingHostsToml"
    assert list(node.ours()) == []
    assert node.agent().addresses() == IP  # the rest is done all the same
    node.agent().withdraw()
    node.agent().clean()
    assert node.tree() == before


def test_a_hosts_toml_of_a_person_that_comes_later_makes_ours_go(node: ANode) -> None:
    agent = node.agent()
    agent.configure(IP, AUTHORITY, None)
    node.put("etc/docker/certs.d/one.example.com/hosts.toml", 'server = "https://mine"\n')
    with pytest.raises(NodeConfigError):
        agent.configure(IP, AUTHORITY, None)
    assert not (node.containerd / "one.example.com").exists()


def test_what_a_person_has_set_for_the_upstream_is_carried_along(node: ANode) -> None:
    authority = node.put("etc/docker/certs.d/one.example.com/ca.crt")
    node.agent().configure(IP, AUTHORITY, None)
    toml = tomllib.loads((node.containerd / "one.example.com/hosts.toml").read_text())
    assert toml["ca"] == [str(authority)]


def test_a_folder_left_before_the_upstream_by_one_who_was_killed_goes_with_the_mirror_away(node: ANode) -> None:
    """It would hide what a person has set under /etc/docker/certs.d."""
    agent = node.agent()
    agent.configure(IP, AUTHORITY, None)
    folder = node.containerd / "one.example.com"
    (folder / "hosts.toml").rename(folder / ".registry-mirror-one.part")
    agent.withdraw()
    assert not folder.exists()


def test_another_upstream_moves_the_hosts_toml_and_no_upstream_takes_it_away(node: ANode) -> None:
    node.agent().configure(IP, AUTHORITY, None)
    node.agent(UPSTREAM_HOST="b.example.com:5000").configure(IP, AUTHORITY, None)
    assert list(node.ours()) == [node.containerd / "b.example.com_5000_/hosts.toml"]
    assert not (node.containerd / "one.example.com").exists()
    node.agent(UPSTREAM_HOST="").configure(IP, AUTHORITY, None)
    assert list(node.ours()) == []
    assert not (node.containerd / "b.example.com_5000_").exists()


def test_the_hosts_toml_of_a_former_upstream_goes_also_while_the_mirror_is_away(node: ANode) -> None:
    node.agent().configure(IP, AUTHORITY, None)
    turned = node.agent(UPSTREAM_URL="https://two.example.com", UPSTREAM_HOST="two.example.com")
    assert (node.containerd / "one.example.com/hosts.toml").exists()
    turned.withdraw()
    assert not (node.containerd / "one.example.com").exists()


def test_another_masquerade_url_leaves_no_trace_of_the_former(node: ANode) -> None:
    node.agent().configure(IP, AUTHORITY, None)
    node.agent(SHADOW_FQDN="other.example.com").configure(IP, AUTHORITY, None)
    assert b"mirror-one" not in node.hosts.read_bytes()
    assert not (node.containerd / "mirror-one.example.com").exists()
    assert not (node.docker / "mirror-one.example.com").exists()
    for path in node.ours():
        assert b"other.example.com" in path.read_bytes()


def test_the_former_authority_stays_as_long_as_a_hosts_toml_names_it(node: ANode) -> None:
    """The folder of the hosts.toml cannot be written: containerd would fail each pull over a missing CA file."""
    node.agent().configure(IP, AUTHORITY, None)
    toml = node.containerd / "one.example.com"
    (toml / ".registry-mirror-one.part").mkdir()
    with pytest.raises(IsADirectoryError):
        node.agent(SHADOW_FQDN="other.example.com").configure(IP, AUTHORITY, None)
    read = tomllib.loads((toml / "hosts.toml").read_text())
    assert (node.containerd / "mirror-one.example.com/registry-mirror-one.crt").exists()
    assert list(read["host"]) == ["https://mirror-one.example.com"]


def test_under_the_upstreams_own_name_the_entry_goes_with_the_mirror(node: ANode) -> None:
    mine = node.put("etc/docker/certs.d/one.example.com/ca.crt")
    before = node.tree()
    agent = node.agent(SHADOW_FQDN="one.example.com")
    agent.configure(IP, AUTHORITY, None)
    toml = tomllib.loads((node.containerd / "one.example.com/hosts.toml").read_text())
    assert toml["server"] == "https://one.example.com"
    assert str(node.containerd / "one.example.com/registry-mirror-one.crt") in toml["ca"]
    assert str(mine) in toml["ca"]
    agent.withdraw()
    assert node.hosts.read_bytes() == LOCALHOST
    assert not node.containerd.exists()
    assert [path.name for path in (node.docker / "one.example.com").iterdir()] == ["ca.crt"]
    agent.configure(IP, AUTHORITY, None)
    agent.clean()
    assert node.tree() == before


def test_another_mirrors_hosts_toml_gives_way_to_the_one_that_has_the_upstream_now(node: ANode) -> None:
    node.agent("two", UPSTREAM_HOST="one.example.com").configure(IP, AUTHORITY, None)
    node.agent().configure(IP, AUTHORITY, None)
    assert b"mirror-one.example.com" in (node.containerd / "one.example.com/hosts.toml").read_bytes()
    node.agent("two", UPSTREAM_HOST="").configure(IP, AUTHORITY, None)
    assert len(list(node.ours())) == 1


def test_the_literal_path_leads_to_our_folder_and_goes_with_the_last_mirror(node: ANode) -> None:
    before = node.tree()
    literal = f"{node.containerd}:{node.docker}"
    for mirror in ("one", "two"):
        node.agent(mirror).configure(IP, AUTHORITY, literal)
    assert (node.root / literal).resolve() == node.containerd
    node.agent("one").clean()
    assert (node.root / literal).resolve() == node.containerd
    node.agent("two").clean()
    assert node.tree() == before


def test_a_folder_of_others_at_the_literal_path_is_left_and_the_rest_is_done(node: ANode) -> None:
    literal = f"{node.containerd}:{node.docker}"
    node.put(f"{literal}/x/hosts.toml".removeprefix(f"{node.root}/"))
    before = node.tree()
    with pytest.raises(NodeConfigError, match="config_path") as hindrance:
        node.agent().configure(IP, AUTHORITY, literal)
    assert hindrance.value.reason == "RuntimeIgnoresCerts"
    assert len(list(node.ours())) == 1
    node.agent().clean()
    assert node.tree() == before
