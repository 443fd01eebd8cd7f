"""Test the agent beside the original mirror-hostess, which writes and removes the hosts entry."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from common.agent_protocol import State
from hostess.hostsfile import hosts_block
from hostess.kube.mirror_endpoints import MirrorEndpoints
from hostess.node_of_original import NodeOfOriginal
from hostess.registries import Registry
from tests.unit.hostess.node_files import CA, LOCALHOST, NodeFiles
from tests.unit.hostess.running_agent import UP, Running
from tests.unit.hostess.tls_server import HOST_NAME

if TYPE_CHECKING:
    from tests.unit.hostess.tls_server import Server

IP = ("10.96.0.7",)
ENTRY = b"\n10.96.0.7\tmirror-one.example.com\n"


def beside(node: NodeFiles, mirror: str = "one") -> NodeOfOriginal:
    settings = node.settings(mirror, BESIDE_ORIGINAL="true")
    return NodeOfOriginal(settings, (Registry("", f"https://{mirror}.example.com"),))


def test_ca_is_installed_and_hosts_file_untouched(node: NodeFiles) -> None:
    beside(node).configure(IP, CA, None)
    assert node.hosts.read_bytes() == LOCALHOST
    for root in (node.containerd, node.docker):
        assert (root / "mirror-one.example.com/registry-mirror-one.crt").read_bytes() == CA
    assert not list(node.ours())


def test_entry_of_original_counts(node: NodeFiles) -> None:
    found = beside(node)
    assert not found.has_name()
    node.hosts.write_bytes(LOCALHOST + ENTRY)
    assert found.has_name()
    assert not beside(node, "two").has_name()


def test_switch_removes_what_the_own_agent_wrote(node: NodeFiles) -> None:
    node.agent().configure(IP, CA, None)
    assert list(node.ours())
    beside(node).configure(IP, CA, None)
    assert node.hosts.read_bytes() == LOCALHOST
    assert not list(node.ours())


def test_node_is_cleaned_of_both(node: NodeFiles) -> None:
    """The original hangs at times and leaves its entry."""
    before = node.tree()
    found = beside(node)
    found.configure(IP, CA, None)
    assert not found.is_clean()
    node.hosts.write_bytes(LOCALHOST + ENTRY)
    found.clean()
    assert found.is_clean()
    node.hosts.write_bytes(node.hosts.read_bytes().removesuffix(b"\n"))  # which the original added
    assert node.tree() == before


def test_cleanup_keeps_files_of_other_mirrors(node: NodeFiles) -> None:
    roots = f"{node.containerd}:{node.docker}"
    for mirror in ("one", "two"):
        beside(node, mirror).configure(IP, CA, roots)
    beside(node).clean()
    assert (node.containerd.parent / f"{node.containerd.name}:").exists()
    assert (node.root / "lock/lock").exists()
    beside(node, "two").clean()
    assert not (node.containerd.parent / f"{node.containerd.name}:").exists()


@pytest.mark.parametrize(
    "line",
    [
        b"# 10.0.0.1 mirror-one.example.com\n",
        b"10.0.0.1 mirror-one.example.com and-another\n",
        b"10.0.0.1 my.mirror-one.example.com\n",
        b"10.0.0.1 other # mirror-one.example.com\n",
    ],
)
def test_other_foreign_lines_stay(line: bytes) -> None:
    content = line + ENTRY.lstrip()
    assert hosts_block.without_name(content, "mirror-one.example.com") == line


def test_agent_waits_for_the_entry_of_original(node: NodeFiles, server: Server) -> None:
    agent = Running(node, server, UPSTREAM_HOST="", BESIDE_ORIGINAL="true")
    agent.agent.node = NodeOfOriginal(agent.agent.settings, agent.agent.node.registries)
    agent.agent.cleanup.node = agent.agent.node
    agent.start()
    try:
        agent.becomes(State.PENDING, "HostsEntryMissing")
        node.hosts.write_bytes(LOCALHOST + f"\n127.0.0.1\t{HOST_NAME}\n".encode())
        agent.becomes(State.CONFIGURED, "Configured")
        assert "only images with the mirror's own name" in agent.agent.state.message
        agent.agent.update(MirrorEndpoints(UP.addresses, cleaning=True))
        agent.becomes(State.CLEANED, "Cleaned")
        assert HOST_NAME.encode() not in node.hosts.read_bytes()
    finally:
        agent.stop()
