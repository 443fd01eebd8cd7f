"""Test the agent at its start and end, and with problems of the node."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from common.agent_protocol import REPLACED, State
from hostess.fs.atomic import locked
from hostess.health.threshold import FailureThreshold
from hostess.kube.mirror_endpoints import MirrorEndpoints
from tests.unit.hostess.node_files import LOCALHOST, NodeFiles
from tests.unit.hostess.running_agent import AWAY, UP, Running, configure_once, wait_withdrawn
from tests.unit.hostess.tls_server import GOOD, HOST_NAME, Server

if TYPE_CHECKING:
    import ssl


def test_restarted_agent_needs_no_api_server(node: NodeFiles, server: Server) -> None:
    configure_once(node, server)
    second = Running(node, server).start(view=None)
    second.configured()
    server.stop()
    assert wait_withdrawn(second) < AWAY
    second.stop()


def test_restarted_agent_withdraws_dead_mirror(node: NodeFiles, server: Server) -> None:
    configure_once(node, server)
    server.stop()
    second = Running(node, server).start(view=None)
    assert wait_withdrawn(second) < AWAY
    second.stop()


@pytest.mark.parametrize("view", [None, MirrorEndpoints()], ids=["without the API server", "whose Service is gone"])
def test_unreadable_hosts_file_is_read_again(node: NodeFiles, server: Server, view: MirrorEndpoints | None) -> None:
    """Another program may be writing the file at the first try."""
    configure_once(node, server)
    server.stop()
    written = node.hosts.read_bytes()
    node.hosts.write_bytes(LOCALHOST)
    second = Running(node, server).start(view)
    try:
        second.becomes(State.PENDING, "MirrorUnknown")
        assert second.toml.exists()
        node.hosts.write_bytes(written)
        assert wait_withdrawn(second) < AWAY
    finally:
        second.stop()


def test_service_seen_during_probe_is_not_gone(node: NodeFiles, server: Server) -> None:
    configure_once(node, server)
    second = Running(node, server)

    def update_meanwhile(client: ssl.SSLSocket) -> None:
        client.recv(4096)
        second.agent.update(UP)
        client.sendall(GOOD)

    server.behave = update_meanwhile
    second.start(view=None).configured()
    second.stop()
    assert "ServiceGone" not in second.log.getvalue()


def test_two_agents_share_a_node(node: NodeFiles, server: Server) -> None:
    agents = [Running(node, server, mirror).start() for mirror in ("one", "two")]
    for agent in agents:
        agent.configured()
    agents[0].agent.update(MirrorEndpoints(cleaning=True))
    agents[0].becomes(State.CLEANED, "Cleaned")
    assert agents[1].toml.exists()
    agents[1].configured()
    for agent in agents:
        agent.stop()


def test_node_problems_are_reported_until_fixed(one: Running, node: NodeFiles) -> None:
    path = node.put("etc/docker/certs.d/one.example.com/hosts.toml")
    one.start()
    one.becomes(State.BLOCKED, "ExistingHostsToml")
    path.unlink()
    one.configured()
    node.hosts.rename(node.hosts.with_name("away"))
    one.becomes(State.BLOCKED, "NodeFilesUnwritable")
    assert str(node.hosts) in one.agent.state.message
    node.hosts.with_name("away").rename(node.hosts)
    one.configured()
    assert node.hosts.read_bytes().startswith(LOCALHOST)


def test_foreign_hosts_line_withdraws_the_mirror(one: Running, node: NodeFiles) -> None:
    """Containerd would connect to the address in this line, and wait at each pull."""
    one.start().configured()
    with node.hosts.open("r+b") as hosts:
        content = hosts.read()
        hosts.seek(0)
        hosts.write(b"192.0.2.1 " + HOST_NAME.encode() + b" # by hand\n" + content)
    one.becomes(State.BLOCKED, "ExistingHostsEntry")
    assert f"192.0.2.1 {HOST_NAME} # by hand" in one.agent.state.message
    assert not one.toml.exists()
    node.hosts.write_bytes(LOCALHOST)
    one.configured()
    assert one.toml.exists()


def test_mirror_without_ca_is_withdrawn(one: Running, node: NodeFiles) -> None:
    one.start().configured()
    (node.root / "secret/ca.crt").unlink()
    assert wait_withdrawn(one) < AWAY
    one.becomes(State.PENDING, "MirrorUnknown")


def test_replaced_hosts_file_asks_for_new_pod(node: NodeFiles, server: Server) -> None:
    """The process goes on: at a container restart the runtime could create a directory for a missing file."""
    with node.hosts.open("r+b") as mounted:
        replaced = Running(node, server, HOSTS_FILE=f"/proc/self/fd/{mounted.fileno()}").start()
        replaced.configured()
        node.put("etc/new", LOCALHOST).rename(node.hosts)
        replaced.becomes(State.PENDING, REPLACED)
        server.stop()
        assert wait_withdrawn(replaced) < AWAY
        assert replaced.thread.is_alive()
        replaced.stop()
    assert node.hosts.read_bytes() == LOCALHOST


def test_removed_folder_asks_for_new_pod(node: NodeFiles, server: Server) -> None:
    """Reinstalling containerd removes its folder."""
    node.containerd.parent.mkdir(parents=True, exist_ok=True)
    mounted = os.open(node.containerd.parent, os.O_RDONLY)
    removed = Running(node, server, CONTAINERD_CERTS_DIR=f"/proc/self/fd/{mounted}/certs.d").start()
    removed.configured()
    shutil.rmtree(node.containerd.parent)
    removed.becomes(State.PENDING, REPLACED)
    removed.stop()
    os.close(mounted)


def test_dead_mirror_is_withdrawn_without_lock(one: Running, server: Server) -> None:
    one.start().configured()
    with locked(one.agent.settings.lock_file):
        server.stop()
        assert wait_withdrawn(one) < AWAY


def test_removed_mirror_leaves_nothing_after_the_loop(one: Running, node: NodeFiles) -> None:
    before = {path: content for path, content in node.tree().items() if not path.startswith("secret")}
    one.start().configured()
    one.stop()
    assert one.toml.exists()
    one.agent.cleanup.finish(lambda: "Service deleted")
    assert {path: content for path, content in node.tree().items() if not path.startswith("secret")} == before


def test_removal_removes_hosts_toml_while_lock_is_held(one: Running) -> None:
    one.start().configured()
    one.stop()
    with locked(one.agent.settings.lock_file):
        one.agent.cleanup.finish(lambda: "Service deleted")
    assert not one.toml.exists()
    assert "node cleanup failed" in one.log.getvalue()


def test_loop_ends_without_writing_after_a_probe(one: Running, server: Server) -> None:
    """A failing probe at shutdown withdraws nothing, so that a rollout keeps hosts.toml."""
    one.start().configured()

    def stop_meanwhile(client: ssl.SSLSocket) -> None:
        client.recv(4096)
        one.stopping.set()
        client.close()

    server.behave = stop_meanwhile
    one.agent._health = FailureThreshold(alive=True, contrary=1)
    one.thread.join(10)
    assert not one.thread.is_alive()
    assert one.toml.exists()


@pytest.mark.parametrize(("view", "expected"), [(None, False), (UP, False), (MirrorEndpoints(removed=True), True)])
def test_watch_sees_removed_service(one: Running, view: MirrorEndpoints | None, expected: bool) -> None:  # noqa: FBT001
    if view is not None:
        one.agent.update(view)
    assert one.agent.saw_removal is expected
