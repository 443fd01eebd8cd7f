"""K6: another program writes an old copy of the hosts file back after the mirror was cleaned."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from common.agent_protocol import State
from hostess.kube.mirror_endpoints import MirrorEndpoints
from tests.support.kube import until
from tests.unit.hostess.running_agent import UP, Running, configure_once
from tests.unit.hostess.tls_server import HOST_NAME

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.hostess.node_files import NodeFiles
    from tests.unit.hostess.tls_server import Server

CLEANING = MirrorEndpoints(UP.addresses, cleaning=True)


def files(node: NodeFiles) -> dict[str, bytes | None]:
    return {path: content for path, content in node.tree().items() if not path.startswith("secret")}


def the_hosts_file(node: NodeFiles) -> Callable[[], object]:
    """Return what writes the present content back."""
    content = node.hosts.read_bytes()
    return lambda: node.hosts.write_bytes(content)


def a_hosts_toml(node: NodeFiles) -> Callable[[], object]:
    path = node.containerd / "one.example.com/hosts.toml"
    content = path.read_bytes()

    def write() -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    return write


def test_cleaned_node_is_cleaned_again(one: Running, node: NodeFiles) -> None:
    before = files(node)
    one.start().configured()
    write_back = the_hosts_file(node)
    one.agent.update(CLEANING)
    one.becomes(State.CLEANED, "Cleaned")
    for view in (CLEANING, MirrorEndpoints()):
        one.agent.update(view)
        write_back()
        assert files(node) != before
        until(lambda: files(node) == before, why="it is cleaned again")
        one.becomes(State.CLEANED, "Cleaned")


@pytest.mark.parametrize("source", [the_hosts_file, a_hosts_toml])
def test_ending_agent_looks_again(
    one: Running, node: NodeFiles, source: Callable[[NodeFiles], Callable[[], object]]
) -> None:
    """A script reads the file, waits two seconds, and writes it back."""
    before = files(node)
    one.start().configured()
    script = threading.Timer(2.0, source(node))
    script.start()
    one.agent.update(CLEANING)
    one.becomes(State.CLEANED, "Cleaned")
    one.stop()
    one.agent.cleanup.finish(lambda: "Service deleted")
    script.join()
    # A folder that another program made is not ours.
    assert not one.agent.node.files.exist()
    assert files(node) == before or source is a_hosts_toml
    assert one.log.getvalue().count("node cleaned") == 1


def test_ending_agent_without_finalizer_looks_again(one: Running, node: NodeFiles) -> None:
    before = files(node)
    one.start().configured()
    script = threading.Timer(2.0, the_hosts_file(node))
    script.start()
    one.stop()
    one.agent.cleanup.finish(lambda: "Service deleted")
    script.join()
    assert files(node) == before


def test_recreated_mirror_keeps_its_files(one: Running, node: NodeFiles, server: Server) -> None:
    """Its new agent has configured the node meanwhile."""
    one.start().configured()
    one.agent.update(CLEANING)
    one.becomes(State.CLEANED, "Cleaned")
    one.stop()
    configure_once(node, server)
    one.agent.cleanup.finish(lambda: "")
    assert one.toml.exists()


def test_ending_agent_of_a_mirror_asks_once(one: Running) -> None:
    """A rollout changes nothing, and takes no longer."""
    one.start().configured()
    one.stop()
    asked = []
    began = time.monotonic()
    one.agent.cleanup.finish(lambda: asked.append(1) or "")  # type: ignore[func-returns-value]
    assert asked == [1]
    assert time.monotonic() - began < 1
    assert one.toml.exists()


def test_ending_agent_of_a_clean_node_asks_nothing(node: NodeFiles, server: Server) -> None:
    idle = Running(node, server)
    began = time.monotonic()
    idle.agent.cleanup.finish(lambda: pytest.fail("no need"))
    assert time.monotonic() - began < 1


def test_reserved_name_is_removed_again(node: NodeFiles, server: Server) -> None:
    node.agent(SHADOW_FQDN=HOST_NAME).configure(("10.96.0.7",), b"ca", None)
    write_back = the_hosts_file(node)
    named = Running(node, server, NODE_NAME=HOST_NAME).start()
    try:
        for _ in range(2):
            until(lambda: HOST_NAME.encode() not in node.hosts.read_bytes(), why="the entry goes")
            named.becomes(State.BLOCKED, "ReservedName")
            write_back()
    finally:
        named.stop()


def test_running_agent_is_present(one: Running, node: NodeFiles) -> None:
    """Agents of other mirrors leave its files alone until they are cleaned."""
    other = node.agent("two")
    one.start().configured()
    assert other.has_agent_of("one")
    one.agent.update(CLEANING)
    one.becomes(State.CLEANED, "Cleaned")
    assert not other.has_agent_of("one")
    one.agent.update(UP)
    one.configured()
    assert other.has_agent_of("one")
