"""Test the node's files: complete when configured, without trace when cleaned."""

from __future__ import annotations

import os
import shutil
import tomllib
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from common.image_hosts import DOCKER_HUB_HOSTS
from hostess.hostsfile.hosts_block import parse
from hostess.hostsfile.hosts_file import MountReplaced
from hostess.node_state import NodeConfigError
from tests.unit.hostess.node_files import CA, LOCALHOST, NodeFiles

if TYPE_CHECKING:
    from pathlib import Path

IP = ("10.96.0.7",)


def test_configured_node_is_cleaned_without_trace(node: NodeFiles) -> None:
    before = node.tree()
    agent = node.agent()
    agent.configure(IP, CA, None)
    assert parse(node.hosts.read_bytes()).blocks == {"one": b"10.96.0.7\tmirror-one.example.com\n"}
    toml = tomllib.loads((node.containerd / "one.example.com/hosts.toml").read_text())
    host = toml["host"]["https://mirror-one.example.com"]
    assert toml["server"] == "https://one.example.com"
    for root in (node.containerd, node.docker):
        ca = root / "mirror-one.example.com/registry-mirror-one.crt"
        assert ca.read_bytes() == CA
    assert host["ca"] == str(node.containerd / "mirror-one.example.com/registry-mirror-one.crt")
    assert agent.addresses() == IP
    agent.clean()
    assert node.tree() == before


def test_lost_folder_that_no_runtime_reads(node: NodeFiles, tmp_path: Path) -> None:
    """A mount of a folder that the node has removed stays in the pod, as an open folder does."""
    lost = tmp_path / "docker"
    lost.mkdir()
    opened = os.open(lost, os.O_RDONLY)
    try:
        agent = node.agent(DOCKER_CERTS_DIR=f"/proc/self/fd/{opened}/certs.d")
        agent.configure(IP, CA, None, reads_docker=False)
        assert (lost / "certs.d/mirror-one.example.com/registry-mirror-one.crt").exists()
        shutil.rmtree(lost)
        with pytest.raises(MountReplaced):
            agent.configure(IP, CA, None, reads_docker=False)
    finally:
        os.close(opened)


@pytest.mark.parametrize(
    ("host", "url", "fallbacks"),
    [
        ("one.example.com", "https://one.example.com", {"one.example.com", "one.example.com_443_"}),
        ("one.example.com", "http://one.example.com", {"one.example.com", "one.example.com_80_"}),
        ("one.example.com:5000", "https://one.example.com:5000", {"one.example.com_5000_"}),
        (
            "docker.io",
            "https://registry-1.docker.io",
            {"docker.io", *(f"{host}{port}" for host in DOCKER_HUB_HOSTS for port in ("", "_443_"))},
        ),
    ],
)
def test_several_names_of_one_registry(node: NodeFiles, host: str, url: str, fallbacks: set[str]) -> None:
    """K2: each name that a runtime takes for the registry has its folder, with its own name as fallback."""
    before = node.tree()
    agent = node.agent(UPSTREAM_HOST=host, UPSTREAM_URL=url)
    agent.configure(IP, CA, None)
    assert {path.parent.name for path in node.ours()} == fallbacks
    for path in node.ours():
        name = path.parent.name
        spelled = f"{name[: name.index('_')]}:{name.split('_')[1]}" if name.endswith("_") else name
        server = url if name == "docker.io" else f"{url.partition(':')[0]}://{spelled}"
        assert tomllib.loads(path.read_text())["server"] == server
    agent.withdraw()
    assert list(node.ours()) == []
    agent.configure(IP, CA, None)
    agent.clean()
    assert node.tree() == before


@pytest.mark.parametrize("name", ["docker.io", "index.docker.io", "registry-1.docker.io"])
def test_mirror_under_a_name_of_docker_hub(node: NodeFiles, name: str) -> None:
    """K2: no fallback leads to the mirror itself, unless the upstream's own name does."""
    before = node.tree()
    agent = node.agent(UPSTREAM_HOST="docker.io", UPSTREAM_URL="https://registry-1.docker.io", SHADOW_FQDN=name)
    agent.configure(IP, CA, None)
    for path in node.ours():
        read = tomllib.loads(path.read_text())
        hidden = name == "registry-1.docker.io"
        assert (read["host"] == {}) == hidden
        assert (urlsplit(read["server"]).hostname == name) == hidden
    agent.withdraw()
    assert not (node.containerd / "docker.io").exists()
    agent.configure(IP, CA, None)
    agent.clean()
    assert node.tree() == before


def test_own_name_wins_over_spelling_of_other_mirror(node: NodeFiles) -> None:
    """A registry over http at port 443 has the name `host:443`, which https has without a port."""
    https = node.agent("one")
    http = node.agent("two", UPSTREAM_HOST="one.example.com:443", UPSTREAM_URL="http://one.example.com:443")
    toml = node.containerd / "one.example.com_443_/hosts.toml"
    for agents in ((https, http, https), (http, https)):
        for agent in agents:
            agent.configure(IP, CA, None)
        assert b"mirror-two.example.com" in toml.read_bytes()
    http.clean()
    https.configure(IP, CA, None)
    assert b"mirror-one.example.com" in toml.read_bytes()


def test_foreign_hosts_toml_of_another_spelling(node: NodeFiles) -> None:
    """The usual name is mirrored, and the file is named."""
    path = node.put("etc/containerd/certs.d/one.example.com_443_/hosts.toml", 'server = "https://mine"')
    with pytest.raises(NodeConfigError, match=rf"images of one.example.com:443 do not .*{path}"):
        node.agent().configure(IP, CA, None)
    assert [each.parent.name for each in node.ours()] == ["one.example.com"]


def test_configuring_again_writes_nothing(node: NodeFiles) -> None:
    agent = node.agent()
    agent.configure(IP, CA, None)
    written = {path: path.stat().st_mtime_ns for path in node.root.rglob("*") if path.name != "lock"}
    agent.configure(IP, CA, None)
    assert {path: path.stat().st_mtime_ns for path in written} == written


def test_two_mirrors_are_independent(node: NodeFiles) -> None:
    one, two = node.agent("one"), node.agent("two")
    for agent in (one, two):
        agent.configure(IP, CA, None)
    one.withdraw()
    assert not (node.containerd / "one.example.com").exists()
    assert (node.containerd / "mirror-one.example.com").is_dir()
    assert {path.parent.name for path in node.ours()} == {"two.example.com", "two.example.com_443_"}
    one.clean()
    assert list(parse(node.hosts.read_bytes()).blocks) == ["two"]
    assert (node.root / "backup/hosts").exists()
    two.clean()
    assert node.hosts.read_bytes() == LOCALHOST


@pytest.mark.parametrize("folder", ["one.example.com", "_default"])
@pytest.mark.parametrize("root", ["containerd", "docker"])
def test_existing_hosts_toml_is_kept_and_named(node: NodeFiles, root: str, folder: str) -> None:
    path = node.put(f"etc/{root}/certs.d/{folder}/hosts.toml", 'server = "https://mine"\n')
    before = node.tree()
    with pytest.raises(NodeConfigError, match=str(path)) as caught:
        node.agent().configure(IP, CA, None)
    assert caught.value.reason == "ExistingHostsToml"
    assert list(node.ours()) == []
    assert node.agent().addresses() == IP  # the rest is written
    node.agent().withdraw()
    node.agent().clean()
    assert node.tree() == before


def test_later_foreign_hosts_toml_replaces_ours(node: NodeFiles) -> None:
    agent = node.agent()
    agent.configure(IP, CA, None)
    node.put("etc/docker/certs.d/one.example.com/hosts.toml", 'server = "https://mine"\n')
    with pytest.raises(NodeConfigError):
        agent.configure(IP, CA, None)
    assert not (node.containerd / "one.example.com").exists()


def test_settings_of_upstream_are_carried_over(node: NodeFiles) -> None:
    ca = node.put("etc/docker/certs.d/one.example.com/ca.crt")
    node.agent().configure(IP, CA, None)
    toml = tomllib.loads((node.containerd / "one.example.com/hosts.toml").read_text())
    assert toml["ca"] == [str(ca)]


def test_withdraw_removes_folder_of_killed_agent(node: NodeFiles) -> None:
    """The folder would hide foreign settings under /etc/docker/certs.d."""
    agent = node.agent()
    agent.configure(IP, CA, None)
    folder = node.containerd / "one.example.com"
    (folder / "hosts.toml").rename(folder / ".registry-mirror-one.part")
    agent.withdraw()
    assert not folder.exists()


def test_hosts_toml_follows_the_upstream(node: NodeFiles) -> None:
    node.agent().configure(IP, CA, None)
    node.agent(UPSTREAM_HOST="b.example.com:5000").configure(IP, CA, None)
    assert list(node.ours()) == [node.containerd / "b.example.com_5000_/hosts.toml"]
    assert not (node.containerd / "one.example.com").exists()
    node.agent(UPSTREAM_HOST="").configure(IP, CA, None)
    assert list(node.ours()) == []
    assert not (node.containerd / "b.example.com_5000_").exists()


def test_withdraw_removes_former_upstream(node: NodeFiles) -> None:
    node.agent().configure(IP, CA, None)
    turned = node.agent(UPSTREAM_URL="https://two.example.com", UPSTREAM_HOST="two.example.com")
    assert (node.containerd / "one.example.com/hosts.toml").exists()
    turned.withdraw()
    assert not (node.containerd / "one.example.com").exists()


def test_former_masquerade_url_leaves_no_trace(node: NodeFiles) -> None:
    node.agent().configure(IP, CA, None)
    node.agent(SHADOW_FQDN="other.example.com").configure(IP, CA, None)
    assert b"mirror-one" not in node.hosts.read_bytes()
    assert not (node.containerd / "mirror-one.example.com").exists()
    assert not (node.docker / "mirror-one.example.com").exists()
    for path in node.ours():
        assert b"other.example.com" in path.read_bytes()


def test_former_ca_stays_while_named(node: NodeFiles) -> None:
    """Containerd fails each pull if hosts.toml names a missing CA file."""
    node.agent().configure(IP, CA, None)
    toml = node.containerd / "one.example.com"
    (toml / ".registry-mirror-one.part").mkdir()
    with pytest.raises(IsADirectoryError):
        node.agent(SHADOW_FQDN="other.example.com").configure(IP, CA, None)
    read = tomllib.loads((toml / "hosts.toml").read_text())
    assert (node.containerd / "mirror-one.example.com/registry-mirror-one.crt").exists()
    assert list(read["host"]) == ["https://mirror-one.example.com"]


def test_mirror_with_upstream_name_is_withdrawn(node: NodeFiles) -> None:
    mine = node.put("etc/docker/certs.d/one.example.com/ca.crt")
    before = node.tree()
    agent = node.agent(SHADOW_FQDN="one.example.com")
    agent.configure(IP, CA, None)
    toml = tomllib.loads((node.containerd / "one.example.com/hosts.toml").read_text())
    assert toml["server"] == "https://one.example.com"
    assert str(node.containerd / "one.example.com/registry-mirror-one.crt") in toml["ca"]
    assert str(mine) in toml["ca"]
    agent.withdraw()
    assert node.hosts.read_bytes() == LOCALHOST
    assert not node.containerd.exists()
    assert [path.name for path in (node.docker / "one.example.com").iterdir()] == ["ca.crt"]
    agent.configure(IP, CA, None)
    agent.clean()
    assert node.tree() == before


def test_hosts_toml_of_other_mirror_is_replaced(node: NodeFiles) -> None:
    node.agent("two", UPSTREAM_HOST="one.example.com").configure(IP, CA, None)
    node.agent().configure(IP, CA, None)
    assert b"mirror-one.example.com" in (node.containerd / "one.example.com/hosts.toml").read_bytes()
    node.agent("two", UPSTREAM_HOST="").configure(IP, CA, None)
    assert len(list(node.ours())) == 1


def test_literal_path_is_removed_with_last_mirror(node: NodeFiles) -> None:
    before = node.tree()
    literal = f"{node.containerd}:{node.docker}"
    for mirror in ("one", "two"):
        node.agent(mirror).configure(IP, CA, literal)
    assert (node.root / literal).resolve() == node.containerd
    node.agent("one").clean()
    assert (node.root / literal).resolve() == node.containerd
    node.agent("two").clean()
    assert node.tree() == before


def test_foreign_literal_path_is_kept(node: NodeFiles) -> None:
    literal = f"{node.containerd}:{node.docker}"
    node.put(f"{literal}/x/hosts.toml".removeprefix(f"{node.root}/"))
    before = node.tree()
    with pytest.raises(NodeConfigError, match="config_path") as caught:
        node.agent().configure(IP, CA, literal)
    assert caught.value.reason == "RuntimeIgnoresCerts"
    assert (node.containerd / "one.example.com/hosts.toml").exists()
    node.agent().clean()
    assert node.tree() == before
