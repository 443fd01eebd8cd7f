"""Test the agent's loop with real files and a real TLS server as the mirror."""

from __future__ import annotations

import io
import os
import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from common.agent_protocol import REPLACED, State
from hostess.agent import PROBE_INTERVAL, Agent, Deadlines
from hostess.containerd.config_reader import Containerd
from hostess.fs.atomic import locked
from hostess.health.probe import Probe
from hostess.health.threshold import FailureThreshold
from hostess.json_log import Log
from hostess.kube.api_client import ApiClient
from hostess.kube.mirror_endpoints import Endpoint, MirrorEndpoints
from hostess.node_config import Node
from hostess.node_state import STUCK_AFTER
from tests.support.kube import until
from tests.unit.hostess.node_files import LOCALHOST, NodeFiles
from tests.unit.hostess.tls_server import GOOD, HOST_NAME, Server, answering

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

UP = MirrorEndpoints(("127.0.0.1",), endpoints=(Endpoint("127.0.0.1", 5000),))  # a single pod is not probed
QUICK = Deadlines(hosts_read=0.5, unreachable=4.0)  # the e2e tests use the default
AWAY = 10.0  # seconds until a dead mirror is withdrawn


class Running:
    """Agent in a thread. The server is its mirror, the test sets its cluster."""

    def __init__(self, node: NodeFiles, server: Server, mirror: str = "one", **changed: str) -> None:
        ca = node.put("secret/ca.crt", server.issuer.certificate)
        settings = node.settings(mirror, SHADOW_FQDN=HOST_NAME, AUTHORITY_FILE=str(ca), **changed)
        self.log = io.StringIO()
        log = Log(self.log)
        containerd = Containerd(settings, ApiClient("127.0.0.1", 1, node.root), log, version_read=True)
        self.probe = Probe(HOST_NAME, server.port)
        self.agent = Agent(settings, Node(settings), self.probe, containerd, log, QUICK)
        self.toml = node.containerd / settings.upstream_host / "hosts.toml"
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.agent.run, args=(self.stopping,))

    def start(self, view: MirrorEndpoints | None = UP) -> Running:
        """Start the loop."""
        if view is not None:
            self.agent.update(view)
        self.thread.start()
        return self

    def stop(self) -> None:
        """End the loop."""
        self.stopping.set()
        self.agent.stop()
        self.thread.join()

    def becomes(self, state: State, reason: str, seconds: float = 20) -> float:
        """Wait for a state and reason; return the seconds."""
        began = time.monotonic()
        until(
            lambda: (self.agent.state.state, self.agent.state.reason) == (state, reason),
            why=f"{state} {reason}",
            seconds=seconds,
        )
        return time.monotonic() - began

    def configured(self) -> None:
        """Wait until the mirror is used."""
        self.becomes(State.CONFIGURED, "Configured")
        assert self.toml.exists()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path) as server:
        yield server


@pytest.fixture
def node(tmp_path: Path) -> NodeFiles:
    return NodeFiles(tmp_path / "node")


@pytest.fixture
def one(node: NodeFiles, server: Server) -> Iterator[Running]:
    running = Running(node, server)
    yield running
    if running.thread.ident is not None:
        running.stop()


def wait_withdrawn(one: Running) -> float:
    began = time.monotonic()
    until(lambda: not one.toml.exists(), why="hosts.toml goes", seconds=30)
    took = time.monotonic() - began
    until(lambda: one.agent.state.reason != "Configured", why="the agent has said so")
    return took


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


def test_restarted_agent_needs_no_api_server(node: NodeFiles, server: Server) -> None:
    first = Running(node, server).start()
    first.configured()
    first.stop()
    second = Running(node, server).start(view=None)
    second.configured()
    server.stop()
    assert wait_withdrawn(second) < AWAY
    second.stop()


def test_restarted_agent_withdraws_dead_mirror(node: NodeFiles, server: Server) -> None:
    first = Running(node, server).start()
    first.configured()
    first.stop()
    server.stop()
    second = Running(node, server).start(view=None)
    assert wait_withdrawn(second) < AWAY
    second.stop()


@pytest.mark.parametrize("view", [None, MirrorEndpoints()], ids=["without the API server", "whose Service is gone"])
def test_unreadable_hosts_file_is_read_again(node: NodeFiles, server: Server, view: MirrorEndpoints | None) -> None:
    """Another program may be writing the file at the first try."""
    first = Running(node, server).start()
    first.configured()
    first.stop()
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
    first = Running(node, server).start()
    first.configured()
    first.stop()
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


def test_stuck_loop_reports_stuck(one: Running) -> None:
    one.start().configured()
    assert not one.agent.is_stuck
    one.stop()
    one.agent._last_round -= STUCK_AFTER + 1
    assert one.agent.is_stuck
    assert (one.agent.reported_state.state, one.agent.reported_state.reason) == (State.BLOCKED, "AgentStuck")
    assert one.agent.state.reason == "Configured"


def test_removed_mirror_leaves_nothing_after_the_loop(one: Running, node: NodeFiles) -> None:
    before = {path: content for path, content in node.tree().items() if not path.startswith("secret")}
    one.start().configured()
    one.stop()
    assert one.toml.exists()
    one.agent.remove_mirror("Service deleted")
    assert {path: content for path, content in node.tree().items() if not path.startswith("secret")} == before


def test_removal_removes_hosts_toml_while_lock_is_held(one: Running) -> None:
    one.start().configured()
    one.stop()
    with locked(one.agent.settings.lock_file):
        one.agent.remove_mirror("Service deleted")
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
def test_watch_tells_if_the_service_was_removed(one: Running, view: MirrorEndpoints | None, expected: bool) -> None:  # noqa: FBT001
    if view is not None:
        one.agent.update(view)
    assert one.agent.saw_removal is expected
