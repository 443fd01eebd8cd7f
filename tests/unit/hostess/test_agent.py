"""Test how the agent follows the health of its mirror."""

from __future__ import annotations

import socket
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from common.agent_protocol import State
from hostess.agent import PROBE_INTERVAL
from hostess.containerd.runtime import Runtime
from hostess.kube.mirror_endpoints import Endpoint, MirrorEndpoints
from hostess.node_state import STUCK_AFTER
from tests.support.kube import until
from tests.unit.hostess.node_files import LOCALHOST, NodeFiles
from tests.unit.hostess.running_agent import AWAY, QUICK, UP, Running, wait_withdrawn
from tests.unit.hostess.tls_server import GOOD, HOST_NAME, Server, answering

if TYPE_CHECKING:
    import ssl


def test_refusing_mirror_is_withdrawn_and_comes_back(one: Running, server: Server) -> None:
    one.start().configured()
    server.stop()
    took = wait_withdrawn(one)
    assert took < AWAY
    one.becomes(State.PENDING, "MirrorUnreachable")
    server.start()
    one.configured()
    print(f"withdrawn in {took:.1f} s")  # noqa: T201 (a figure for the report)


@pytest.mark.parametrize("variable", ["NODE_NAME", "KUBERNETES_SERVICE_HOST"])
def test_reserved_names_are_refused(node: NodeFiles, server: Server, variable: str) -> None:
    node.agent(SHADOW_FQDN=HOST_NAME).configure(("10.96.0.7",), b"ca", None)
    named = Running(node, server, **{variable: HOST_NAME}).start()
    try:
        named.becomes(State.BLOCKED, "ReservedName")
        assert node.hosts.read_bytes() == LOCALHOST
        assert not named.toml.exists()
        named.agent.update(MirrorEndpoints(("127.0.0.1",), cleaning=True))
        named.becomes(State.CLEANED, "Cleaned")
    finally:
        named.stop()


@pytest.mark.parametrize("how", ["at the handshake", "after the request"])
def test_hung_mirror_is_withdrawn_and_comes_back(one: Running, server: Server, how: str) -> None:
    one.start().configured()
    server.stop()
    good, server.behave = server.behave, None if how == "at the handshake" else answering(b"")
    server.start()
    took = wait_withdrawn(one)
    assert took < AWAY
    server.stop()
    server.behave = good
    server.start()
    one.configured()
    print(f"withdrawn in {took:.1f} s")  # noqa: T201 (as above)


def test_literal_path_waits_for_runtime_version(one: Running, node: NodeFiles) -> None:
    """Most nodes need no such link."""
    roots = f"{node.containerd}:{node.docker}"
    literal, section = Path(roots), '[plugins."io.containerd.grpc.v1.cri".registry]'
    node.put("etc/containerd/config.toml", f'{section}\nconfig_path = "{roots}"\n')
    one.agent.containerd.version_read = False
    one.start().becomes(State.PENDING, "RuntimeUnknown")
    assert one.toml.exists()
    assert not literal.is_symlink()
    one.agent.containerd.read_version()  # fails without an API server
    one.configured()
    assert literal.is_symlink()


def test_unreadable_import_is_not_verified(one: Running, node: NodeFiles) -> None:
    """K1: the files are written, and the node does not count as one that uses the mirror."""
    main = node.put("etc/containerd/config.toml", 'imports = ["/opt/x.toml"]\n')
    one.start().becomes(State.UNVERIFIED, "RuntimeNotVerified")
    assert one.toml.exists()
    assert "/opt/x.toml" in one.agent.state.message
    main.write_text(f'[plugins."io.containerd.grpc.v1.cri".registry]\nconfig_path = "{node.containerd}"\n')
    one.configured()


def test_unknown_runtime_is_not_verified(one: Running) -> None:
    """K1: an agent without the right to read its Node has no version of the runtime."""
    one.agent.containerd.runtime = Runtime()
    one.start().becomes(State.UNVERIFIED, "RuntimeNotVerified")
    assert one.toml.exists()
    one.agent.containerd.runtime = Runtime("containerd", (2, 4))
    one.configured()


@pytest.mark.parametrize("upstream", ["one.example.com", ""])
def test_message_names_the_images(node: NodeFiles, server: Server, upstream: str) -> None:
    """K1: another mirror may have the upstream's hosts.toml."""
    running = Running(node, server, UPSTREAM_HOST=upstream).start()
    try:
        running.becomes(State.CONFIGURED, "Configured")
        assert ("only images with the mirror's own name" in running.agent.state.message) == (upstream == "")
    finally:
        running.stop()


def test_mirror_without_ready_pods_is_withdrawn(one: Running) -> None:
    one.start().configured()
    one.agent.update(MirrorEndpoints(UP.addresses, endpoints=()))
    assert wait_withdrawn(one) < 2
    one.becomes(State.CONFIGURED, "MirrorAway")
    one.agent.update(UP)
    one.configured()


def test_silent_ready_mirror_becomes_unreachable(one: Running, server: Server) -> None:
    one.start().configured()
    server.stop()
    one.becomes(State.BLOCKED, "MirrorUnreachable", seconds=40)
    assert "refused" in one.agent.state.message


def test_cleaned_node_is_as_before(one: Running, node: NodeFiles, server: Server) -> None:
    before = {path: content for path, content in node.tree().items() if not path.startswith("secret")}
    one.start().configured()
    server.stop()
    one.agent.update(MirrorEndpoints(UP.addresses, cleaning=True, endpoints=()))
    one.becomes(State.CLEANED, "Cleaned")
    after = {path: content for path, content in node.tree().items() if not path.startswith("secret")}
    assert after == before
    server.start()
    one.agent.update(UP)
    one.configured()


def test_cleaned_node_stays_clean_without_service(one: Running) -> None:
    one.start().configured()
    one.agent.update(MirrorEndpoints(UP.addresses, cleaning=True, endpoints=UP.endpoints))
    one.becomes(State.CLEANED, "Cleaned")
    one.agent.update(MirrorEndpoints())
    end = time.monotonic() + 1.5 * PROBE_INTERVAL
    while time.monotonic() < end:
        assert not one.toml.exists()


def replicas(*servers: Server) -> MirrorEndpoints:
    """Return ready cache pods; the Service leads to the first."""
    return MirrorEndpoints(UP.addresses, endpoints=tuple(Endpoint("127.0.0.1", each.port) for each in servers))


def test_one_hung_replica_withdraws_the_mirror(one: Running, server: Server, tmp_path: Path) -> None:
    """The Service may lead the runtime to that replica. Pods that are not ready count for nothing."""
    with Server(tmp_path, server.issuer) as second:
        one.start(replicas(server, second)).configured()
        asked = second.connections
        second.stop()
        good, second.behave = second.behave, None
        second.start()
        assert wait_withdrawn(one) < AWAY
        assert asked > 0
        one.becomes(State.PENDING, "MirrorUnreachable")
        assert "one of its cache pods, at 127.0.0.1: no answer" in one.agent.state.message
        one.agent.update(replicas(server))
        one.configured()
        one.agent.update(replicas(server, second))
        wait_withdrawn(one)
        second.stop()
        second.behave = good
        second.start()
        one.configured()


def test_slow_replicas_delay_no_round_for_long(one: Running, server: Server) -> None:
    """Ten slow replicas would make the agent look stuck."""

    def slowly(client: ssl.SSLSocket) -> None:
        client.recv(4096)
        time.sleep(0.4)
        client.sendall(GOOD)

    server.behave = slowly
    one.agent.deadlines = replace(QUICK, pods=1.0)
    began = time.monotonic()
    one.start(replicas(*[server] * 10))
    until(lambda: "need more than 1 s to answer" in one.agent.state.message, why="it says so")
    # The Service's answer, three of the pods, and slack for a slow machine: ten would take 4.4 s.
    assert time.monotonic() - began < 3.5


def test_rollout_of_replicas_withdraws_nothing(one: Running, server: Server, tmp_path: Path) -> None:
    """The watch sees a terminating pod before its probes fail."""
    with Server(tmp_path, server.issuer) as second:
        one.start(replicas(server, second)).configured()
        one.agent.update(replicas(server))
    end = time.monotonic() + 2 * PROBE_INTERVAL
    while time.monotonic() < end:
        assert one.toml.exists()


def test_second_address_is_probed_and_may_fail(one: Running, server: Server) -> None:
    """The first address decides alone if the mirror is used."""
    with socket.create_server(("127.0.0.2", server.port)) as second:
        second.settimeout(AWAY)
        one.start(replace(UP, addresses=("127.0.0.1", "127.0.0.2")))
        second.accept()[0].close()
    one.configured()


def test_stuck_loop_reports_stuck(one: Running) -> None:
    one.start().configured()
    assert not one.agent.is_stuck
    one.stop()
    one.agent._last_round -= STUCK_AFTER + 1
    assert one.agent.is_stuck
    assert (one.agent.reported_state.state, one.agent.reported_state.reason) == (State.BLOCKED, "AgentStuck")
    assert one.agent.state.reason == "Configured"
